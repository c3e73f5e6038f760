//! This machine's processor and memory: the smaller of what the kernel has left and what the process's cgroup allows.

use std::fs;
use std::path::Path;

use super::{Device, DeviceError, DeviceKind};
use crate::quantity::Bytes;

/// `MemTotal` and `MemAvailable` of the text of `/proc/meminfo`, in bytes.
pub fn parse_meminfo(text: &str) -> (Option<u64>, Option<u64>) {
    let field = |name: &str| {
        let line = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':'))?;
        let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        kib.checked_mul(1024)
    };
    // MemAvailable came with Linux 3.14; before, free memory is the safe part of it
    (field("MemTotal"), field("MemAvailable").or_else(|| field("MemFree")))
}

/// The limit in the text of cgroup v2's `memory.max` or v1's `memory.limit_in_bytes`; `None` where there is none.
pub fn parse_limit(text: &str) -> Option<u64> {
    let limit: u64 = text.trim().parse().ok()?;
    // v1 says "no limit" by a number near 2^63
    (limit < 1 << 60).then_some(limit)
}

/// What a cgroup with this limit can still allocate, of the texts of its limit, its use and its `memory.stat`. Cached
/// file pages count as use but are given back under pressure, so inactive ones are not counted.
pub fn parse_cgroup(limit: &str, current: &str, stat: &str) -> Option<u64> {
    let limit = parse_limit(limit)?;
    let current: u64 = current.trim().parse().ok()?;
    let cache = ["total_inactive_file", "inactive_file"]
        .iter()
        .find_map(|key| stat.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(' ')?.trim().parse::<u64>().ok()));
    Some(limit.saturating_sub(current.saturating_sub(cache.unwrap_or(0))))
}

/// The paths of the process's cgroup in the text of `/proc/self/cgroup`: version 2's, and version 1's memory controller's.
pub fn parse_membership(text: &str) -> (Option<&str>, Option<&str>) {
    let mut v2 = None;
    let mut v1 = None;
    for line in text.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(id), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        if id == "0" && controllers.is_empty() {
            v2 = Some(path);
        } else if controllers.split(',').any(|c| c == "memory") {
            v1 = Some(path);
        }
    }
    (v2, v1)
}

/// This machine as a device: `usable` is what this process could still allocate.
///
/// # Errors
/// A machine that does not say how much memory it has.
pub fn cpu() -> Result<Device, DeviceError> {
    let meminfo = fs::read_to_string("/proc/meminfo")
        .map_err(|e| DeviceError::NoMemory { why: format!("/proc/meminfo cannot be read ({e})") })?;
    let (Some(total), Some(available)) = parse_meminfo(&meminfo) else {
        return Err(DeviceError::NoMemory { why: "/proc/meminfo names no MemTotal and MemAvailable".to_owned() });
    };
    let membership = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let (v2, v1) = parse_membership(&membership);
    let mut limits = cgroup_room(Path::new("/sys/fs/cgroup"), v2, ["memory.max", "memory.current"]);
    limits.extend(cgroup_room(
        Path::new("/sys/fs/cgroup/memory"),
        v1,
        ["memory.limit_in_bytes", "memory.usage_in_bytes"],
    ));
    let room = limits.iter().min().copied();
    let usable = room.map_or(available, |room| room.min(available));
    let limited = room.is_some_and(|room| room < available);
    Ok(Device {
        name: "cpu".to_owned(),
        title: "this machine's processor".to_owned(),
        kind: DeviceKind::Cpu,
        memory: Bytes(total),
        usable: Bytes(usable),
        compute_capability: None,
        bf16: true,
        flash2: false,
        fp8: false,
        bandwidth_gbs: None,
        tflops_bf16: None,
        tflops_fp16: None,
        tflops_measured: None,
        context_bytes: Bytes(0),
        kernels_bytes: None,
        context_source: "a processor has no context".to_owned(),
        cores: std::thread::available_parallelism().ok().and_then(|n| u32::try_from(n.get()).ok()),
        machine: None,
        source: if limited { "the cgroup's memory limit less its use" } else { "MemAvailable of /proc/meminfo" }
            .to_owned(),
    })
}

/// What is left under the limits of a cgroup and of those above it, each of which binds.
fn cgroup_room(root: &Path, path: Option<&str>, [limit, current]: [&str; 2]) -> Vec<u64> {
    let Some(path) = path else { return Vec::new() };
    let read = |file: std::path::PathBuf| fs::read_to_string(file).unwrap_or_default();
    // inside a container the path may be the host's and absent here: then the root is the container's own cgroup
    let folder = root.join(path.trim_start_matches('/'));
    folder
        .ancestors()
        .take_while(|a| a.starts_with(root))
        .filter_map(|a| parse_cgroup(&read(a.join(limit)), &read(a.join(current)), &read(a.join("memory.stat"))))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meminfo_gives_total_and_available() {
        let text = "MemTotal:       16384000 kB\nMemFree:          200000 kB\nMemAvailable:    8192000 kB\n";
        assert_eq!(parse_meminfo(text), (Some(16_777_216_000), Some(8_388_608_000)));
        assert_eq!(parse_meminfo("MemTotal: 1 kB\nMemFree: 2 kB"), (Some(1024), Some(2048)));
        assert_eq!(parse_meminfo("MemTotal: many\nMemAvailable: 99999999999999999999 kB"), (None, None));
        assert_eq!(parse_meminfo(""), (None, None));
    }

    #[test]
    fn a_cgroup_has_its_limit_less_its_use_without_inactive_cache() {
        assert_eq!(parse_cgroup("1000\n", "300\n", ""), Some(700));
        assert_eq!(parse_cgroup("1000\n", "300\n", "anon 5\ninactive_file 100\n"), Some(800));
        assert_eq!(parse_cgroup("1000", "300", "inactive_file 1\ntotal_inactive_file 200\n"), Some(900));
        assert_eq!(parse_cgroup("1000", "1300", ""), Some(0));
        assert_eq!(parse_cgroup("max\n", "300", ""), None);
        assert_eq!(parse_cgroup("9223372036854771712", "300", ""), None);
        assert_eq!(parse_cgroup("", "", ""), None);
    }

    #[test]
    fn the_process_is_found_in_both_kinds_of_cgroup() {
        assert_eq!(parse_membership("0::/user.slice/a\n"), (Some("/user.slice/a"), None));
        let both = "12:cpu,cpuacct:/c\n5:memory:/docker/1:2\n0::/\n";
        assert_eq!(parse_membership(both), (Some("/"), Some("/docker/1:2")));
        assert_eq!(parse_membership("nonsense\n\n::"), (None, None));
    }

    #[test]
    fn this_machine_has_memory() {
        let cpu = cpu().unwrap();
        assert!(cpu.usable.0 > 0 && cpu.usable <= cpu.memory, "{cpu:?}");
        assert!(cpu.cores.unwrap_or(0) >= 1);
    }
}
