//! For tests of programs that embed the kernel, and of what they plug into it. Feature `test-util`.

pub mod conformance;
