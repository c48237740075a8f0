//! Unsigned LEB128 numbers in the shortest form, as the wire's packed bodies use them.

/// Appends a number.
pub(crate) fn write(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Reads a number from the front of `input` and moves past it; `None` if it is cut off, longer than 64 bits or padded.
pub(crate) fn read(input: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = input.split_first()?;
        *input = rest;
        let bits = u64::from(byte & 0x7f);
        if (shift == 63 && bits > 1) || (shift > 0 && byte == 0) {
            return None;
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    #[test]
    fn shortest_form_only() {
        for value in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            let mut out = Vec::new();
            super::write(&mut out, value);
            let mut input = out.as_slice();
            assert_eq!(super::read(&mut input), Some(value));
            assert!(input.is_empty());
        }
        for bad in
            [&[0x80, 0x00][..], &[0x80], &[], &[0xff; 11], &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]]
        {
            assert_eq!(super::read(&mut &*bad), None, "{bad:x?}");
        }
    }
}
