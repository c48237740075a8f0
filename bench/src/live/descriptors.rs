//! Thousands of connections need as many file descriptors, on both sides.

use std::os::unix::process::CommandExt;
use std::process::Command;

/// Makes sure that this process, and the servers that it starts, may open so many files: where they may not, it runs itself
/// again from a shell that raises the limit.
pub fn at_least(files: u64) {
    let limits = std::fs::read_to_string("/proc/self/limits").expect("Linux");
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).expect("a line");
    let soft = line.split_whitespace().next().expect("a limit");
    if soft.parse().is_ok_and(|soft: u64| soft < files) {
        let raise = format!("ulimit -n {files} && exec \"$0\" \"$@\"");
        let program = std::env::current_exe().expect("this program");
        let error = Command::new("sh").arg("-c").arg(raise).arg(program).args(std::env::args_os().skip(1)).exec();
        panic!("no shell to raise the limit of open files: {error}");
    }
}
