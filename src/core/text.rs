// SPDX-License-Identifier: GPL-2.0
//! Sentences without allocation, and the refusal that carries one to the user.

use core::fmt;

/// A string of at most `N` bytes; what does not fit is cut off at a character.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Text<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Text<N> {
    /// The empty string.
    pub const fn new() -> Self {
        Text {
            bytes: [0; N],
            len: 0,
        }
    }

    /// `text`, cut to `N` bytes.
    pub fn from(text: &str) -> Self {
        let mut out = Self::new();
        out.append(text);
        out
    }

    /// The string.
    pub fn as_str(&self) -> &str {
        // Only whole characters are ever appended, so this can't fail.
        core::str::from_utf8(&self.bytes[..self.len]).unwrap_or("")
    }

    fn append(&mut self, text: &str) {
        for c in text.chars() {
            let mut utf8 = [0u8; 4];
            let encoded = c.encode_utf8(&mut utf8).as_bytes();
            let end = self.len + encoded.len();
            if end > N {
                return;
            }
            self.bytes[self.len..end].copy_from_slice(encoded);
            self.len = end;
        }
    }
}

impl<const N: usize> Default for Text<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> fmt::Write for Text<N> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        self.append(s);
        Ok(())
    }
}

impl<const N: usize> fmt::Display for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl<const N: usize> fmt::Debug for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

/// The kernel's error numbers that restripe answers with (asm-generic/errno-base.h, errno.h).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Errno {
    EPERM = 1,
    ENOENT = 2,
    EIO = 5,
    E2BIG = 7,
    ENOMEM = 12,
    EBUSY = 16,
    EEXIST = 17,
    ENODEV = 19,
    EINVAL = 22,
    EFBIG = 27,
    ENOSPC = 28,
    EROFS = 30,
    ENODATA = 61,
    EBADMSG = 74,
    EOVERFLOW = 75,
    EOPNOTSUPP = 95,
    EALREADY = 114,
    ESTALE = 116,
    EUCLEAN = 117,
}

/// Why something was not done: an errno for the caller of write(2), and one
/// plain sentence for `last_error` that says what is wrong and what to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refusal {
    pub errno: Errno,
    pub sentence: Text<320>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.sentence.fmt(f)
    }
}

/// Makes a [`Refusal`] out of line, so that the many places that do so share one frame.
#[cold]
#[inline(never)]
pub fn refuse(errno: Errno, sentence: fmt::Arguments<'_>) -> Refusal {
    let mut refusal = Refusal {
        errno,
        sentence: Text::new(),
    };
    // Writing to a Text never fails: it cuts.
    let _ = fmt::Write::write_fmt(&mut refusal.sentence, sentence);
    refusal
}

/// `refusal!(EINVAL, "format", args..)` makes a [`Refusal`].
#[macro_export]
macro_rules! refusal {
    ($errno:ident, $($sentence:tt)+) => {
        $crate::text::refuse($crate::text::Errno::$errno, ::core::format_args!($($sentence)+))
    };
}
