#!/bin/sh -eu
# A tree with all that an archive may hold, there and back: by tar, cp and, where it is, rsync.
view() { python3 "$TOOLS/view.py" "$1" | grep -v "^''"; }
mkdir tree
cd tree
mkdir -p a/b/c empty
echo text >a/file
printf 'bytes \377\000 here' >a/b/bytes
: >a/nothing
ln a/file a/b/hard
ln -s ../file a/b/link
ln -s /nowhere dangling
mkfifo pipe
echo x >"$(printf 'odd \377\n name')"
truncate -s 1M holes
printf end >>holes
dd if=/dev/urandom of=big bs=64k count=20 status=none
chmod 0400 a/nothing
chmod 0700 empty
touch -d '2001-02-03 04:05:06.123456789' a/file big
touch -h -d '2002-03-04 05:06:07.5' dangling
cd ..
view tree >wanted
same() { # directory
  view "$1" >seen
  cmp wanted seen
  [ "$(stat -c %i "$1/a/file")" = "$(stat -c %i "$1/a/b/hard")" ]
  [ "$(stat -c %y "$1/a/file" | cut -d. -f1)" = '2001-02-03 04:05:06' ]
  diff -r --no-dereference "$1/a" tree/a
}
mkdir by-tar by-sparse
tar -cf all.tar tree
tar -xpf all.tar -C by-tar
same by-tar/tree
tar -cSf sparse.tar tree
tar -df sparse.tar
tar -xpf sparse.tar -C by-sparse
same by-sparse/tree
cp -a tree by-cp
same by-cp
[ "$(stat -c %y by-cp/a/file)" = "$(stat -c %y tree/a/file)" ]
cp -al tree by-link
same by-link
[ "$(stat -c %h tree/a/file)" = 4 ]
rm -rf by-link
[ "$(stat -c %h tree/a/file)" = 2 ]
if [ -x /usr/bin/rsync ]; then
  rsync -aHS tree/ by-rsync
  same by-rsync
  [ -z "$(rsync -aHSin --checksum tree/ by-rsync)" ]
fi
rm -rf by-tar by-sparse/tree/a
[ ! -e by-tar ]
