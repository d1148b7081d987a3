#!/bin/sh -eu
# A repository from its making to a rebase, with a second working tree and a clone that has the objects by hard links.
export GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_NAME=t GIT_AUTHOR_EMAIL=t@example.com
export GIT_COMMITTER_NAME=t GIT_COMMITTER_EMAIL=t@example.com
same() { [ "$1" = "$2" ] || { echo "git: '$2', not '$1'"; exit 1; }; }

git init -q -b main one
cd one
mkdir src
for n in 1 2 3 4 5 6; do echo "file $n" >src/$n; done
git add .
git commit -q -m first
same "" "$(git status --porcelain)"
git clone -q --local . ../two
git checkout -q -b work
echo changed >src/1
git mv src/2 src/moved
git rm -q src/3
git commit -q -a -m second
git checkout -q main
same "file 1" "$(cat src/1)"
same "file 3" "$(cat src/3)"
echo main >src/6
git commit -q -a -m third
git worktree add -q ../tree work
(
  cd ../tree
  same changed "$(cat src/1)"
  echo more >>src/4
  git commit -q -a -m fourth
  git rebase -q main
  same main "$(cat src/6)"
  same 4 "$(git rev-list --count HEAD)"
)
git worktree remove ../tree
git merge -q --ff-only work
echo stashed >>src/5
git stash -q
same "file 5" "$(cat src/5)"
git stash pop -q
git reset -q --hard
same "" "$(git status --porcelain)"
git gc -q
git fsck --strict --no-dangling
same 4 "$(git rev-list --count HEAD)"
cd ..
rm -rf one
cd two
git fsck --strict --no-dangling
git pull -q 2>/dev/null && exit 1
same 1 "$(git rev-list --count HEAD)"
echo last >src/1
git commit -q -a -m last
git clean -q -f -d -x
same "" "$(git status --porcelain)"
