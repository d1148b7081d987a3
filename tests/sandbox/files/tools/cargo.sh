#!/bin/sh -eu
# A crate without dependencies: built, not built again, built again where it changed, tested.
export PATH="/toolchain/bin:$PATH" CARGO_HOME="$PWD/home" CARGO_NET_OFFLINE=true CARGO_TERM_QUIET=true
mkdir -p crate/src
cd crate
printf '[package]\nname = "answer"\nversion = "1.0.0"\nedition = "2021"\n' >Cargo.toml
echo 'pub fn answer() -> u32 { 42 }' >src/lib.rs
echo 'fn main() { println!("{}", answer::answer()); }' >src/main.rs
built() { stat -c %i:%y target/debug/answer; }
cargo build
[ "$(target/debug/answer)" = 42 ]
before=$(built)
cargo build
[ "$(built)" = "$before" ]
echo 'pub fn answer() -> u32 { 43 }' >src/lib.rs
cargo build
[ "$(target/debug/answer)" = 43 ]
touch src/main.rs
before=$(built)
cargo build
[ "$(built)" != "$before" ]
cargo clean
[ ! -e target ]
