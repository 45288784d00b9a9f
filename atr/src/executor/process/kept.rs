//! Which memory of a host a process keeps that splits off sandboxes: that of the program's own code, and no more.

use std::io;

/// Most ranges that are kept. A program is one, and so is each of its libraries.
pub(super) const MAX_KEPT: usize = 1024;
/// Variables of a program that begin as zero lie behind those that its file holds. What else the kernel has joined to
/// them cannot be told apart, so no more of that is kept.
const MAX_ZEROED: usize = 1 << 20;
/// A multiple of every size of a page.
const PAGE: usize = 64 << 10;

/// Addresses from `start` up to `end`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Range {
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Ranges to be kept of a process with these `maps`, in ascending order: `own`, every file of which something can be
/// executed, as its code refers to its data, and what is the kernel's. The last one ends where the process does.
///
/// # Errors
/// There are too many, or the kernel writes its maps in another way.
pub(super) fn all(maps: &str, own: [Range; 2], keep: &mut [Range; MAX_KEPT]) -> io::Result<()> {
    let maps: Vec<Map<'_>> = maps.lines().map(Map::parse).collect::<Option<_>>().ok_or_else(unknown)?;
    let mut programs: Vec<&str> =
        maps.iter().filter(|map| map.executes && map.is_file()).map(|map| map.name).collect();
    programs.sort_unstable();
    let mut ranges: Vec<Range> = own.into_iter().map(rounded).collect();
    let mut program_ends = None;
    for Map { range, name, .. } in &maps {
        if programs.binary_search(name).is_ok() || is_of_kernel(name) {
            ranges.push(*range);
            program_ends = Some(range.end);
        } else if program_ends.take() == Some(range.start) {
            ranges.push(Range { end: range.end.min(range.start.saturating_add(MAX_ZEROED)), ..*range });
        }
    }
    // Beyond the last one is nothing to unmap: an empty range up to there has all before it unmapped.
    let last = maps.iter().filter(|map| map.name != "[vsyscall]").map(|map| map.range.end).max();
    let end = last.ok_or_else(unknown)?;
    ranges.push(Range { start: end, end: end.saturating_add(1) });
    ranges.sort_unstable();
    let mut joined: Vec<Range> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    if keep.len() < joined.len() {
        return Err(io::Error::other("the program has too many libraries"));
    }
    keep.iter_mut().zip(joined).for_each(|(to, from)| *to = from);
    Ok(())
}

fn unknown() -> io::Error {
    io::Error::other("the kernel lists memory in an unknown form")
}

fn rounded(range: Range) -> Range {
    let end = range.end.checked_next_multiple_of(PAGE).unwrap_or(usize::MAX);
    Range { start: range.start - range.start % PAGE, end }
}

/// What the kernel maps into every process, and may not let go of.
fn is_of_kernel(name: &str) -> bool {
    name.starts_with("[v") && name != "[vsyscall]"
}

struct Map<'a> {
    range: Range,
    executes: bool,
    name: &'a str,
}

impl<'a> Map<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.splitn(6, ' ');
        let (start, end) = fields.next()?.split_once('-')?;
        let address = |text| usize::from_str_radix(text, 16).ok();
        let range = Range { start: address(start)?, end: address(end)? };
        let executes = fields.next()?.contains('x');
        Some(Self { range, executes, name: fields.nth(3).unwrap_or_default().trim_start() })
    }

    fn is_file(&self) -> bool {
        self.name.starts_with('/')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &str = "\
10000-20000 r--p 00000000 08:01 11 /bin/host
20000-30000 r-xp 00010000 08:01 11 /bin/host
30000-40000 rw-p 00020000 08:01 11 /bin/host
40000-50000 rw-p 00000000 00:00 0 
60000-90000 rw-p 00000000 00:00 0 [heap]
100000-900000 rw-p 00000000 00:00 0 
900000-910000 rwxp 00000000 00:00 0 
a00000-a10000 r--p 00000000 08:01 12 /var/lib/data with x
b00000-b10000 r-xp 00000000 08:01 13 /lib/libc.so
b10000-b20000 rw-p 00010000 08:01 13 /lib/libc.so
b20000-d20000 rw-p 00000000 00:00 0 
e00000-e80000 rw-p 00000000 00:00 0 
f00000-f10000 r-xp 00000000 00:00 0 [vdso]
f20000-f40000 rw-p 00000000 00:00 0 [stack]
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]
";

    fn kept(own: [(usize, usize); 2]) -> Vec<(usize, usize)> {
        let mut keep = [Range::default(); MAX_KEPT];
        all(MAPS, own.map(|(start, end)| Range { start, end }), &mut keep).unwrap();
        keep.into_iter().take_while(|range| range.end != 0).map(|range| (range.start, range.end)).collect()
    }

    #[test]
    fn a_program_is_kept_and_nothing_that_was_allocated() {
        let end = (0xf40000, 0xf40001);
        let program = (0x10000, 0x50000);
        // No more than a part of what follows a library.
        let library = (0xb00000, 0xc20000);
        let kernel = (0xf00000, 0xf10000);
        // A stack, and one thread's variables apart from it.
        assert_eq!(
            kept([(0xe12345, 0xe22345), (0xe60001, 0xe60002)]),
            [program, library, (0xe10000, 0xe30000), (0xe60000, 0xe70000), kernel, end]
        );
        // They meet.
        assert_eq!(
            kept([(0xe10000, 0xe30000), (0xe20000, 0xe40000)]),
            [program, library, (0xe10000, 0xe40000), kernel, end]
        );
    }

    #[test]
    fn what_is_listed_in_another_way_is_an_error() {
        let mut keep = [Range::default(); MAX_KEPT];
        for maps in ["", "here be dragons\n", "10000 rw-p\n"] {
            assert!(all(maps, [Range::default(); 2], &mut keep).is_err(), "{maps}");
        }
    }
}
