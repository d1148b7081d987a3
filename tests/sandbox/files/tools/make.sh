#!/bin/sh -eu
# A program of several sources: made, not made again, and of what changed only that is made again.
cat >Makefile <<'END'
app: main.o one.o two.o
	gcc -o $@ $^
	@echo linked >>log
%.o: %.c all.h
	gcc -c -o $@ $<
	@echo $@ >>log
END
echo 'int one(void), two(void);' >all.h
printf '#include "all.h"\nint main(void) { return one() + two() - 3; }\n' >main.c
printf '#include "all.h"\nint one(void) { return 1; }\n' >one.c
printf '#include "all.h"\nint two(void) { return 2; }\n' >two.c
made() { # what the next make is to make
  : >log
  make -s -j2 2>make.err
  cat make.err
  ./app
  [ "$(sort log | tr '\n' ' ')" = "$1" ] || { echo "make: made '$(cat log)', not '$1'"; exit 1; }
}
made "linked main.o one.o two.o "
made ""
touch one.c
made "linked one.o "
made ""
sed -i s/2/1+1/ two.c
made "linked two.o "
rm main.o
made "linked main.o "
touch all.h
made "linked main.o one.o two.o "
made ""
