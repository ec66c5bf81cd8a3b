use std::collections::HashMap;

use super::pickle::{Id, Object, Pickle, is_dict};
use crate::read_error::ReadError;

/// Objects of a pickle at most; checkpoints have some hundred thousand.
const MAX_OBJECTS: usize = 16 << 20;

/// Reads a pickle of protocol 2 to 5.
///
/// Nothing is imported or called: classes are names, and what they would build is unknown, except for
/// tensors and dictionaries.
pub(super) fn read(bytes: &[u8]) -> Result<Pickle, ReadError> {
    let reader = PickleReader {
        bytes,
        at: 0,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        pickle: Pickle::default(),
    };
    reader.run()
}

struct PickleReader<'a> {
    bytes: &'a [u8],
    at: usize,
    stack: Vec<Id>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
    pickle: Pickle,
}

impl PickleReader<'_> {
    fn run(mut self) -> Result<Pickle, ReadError> {
        loop {
            let op = self.take(1)?[0];
            if op == b'.' {
                self.pickle.root = self.pop()?;
                return Ok(self.pickle);
            }
            self.step(op)?;
            if self.pickle.len() > MAX_OBJECTS {
                return Err(damaged("it has too many objects for a checkpoint"));
            }
        }
    }

    /// Letters are those of Python's `pickletools`.
    fn step(&mut self, op: u8) -> Result<(), ReadError> {
        match op {
            // PROTO and FRAME
            0x80 => {
                let version = self.take(1)?[0];
                if !(2..=5).contains(&version) {
                    return Err(format!(
                        "its pickle has protocol {version}, protocols 2 to 5 are read"
                    )
                    .into());
                }
            }
            0x95 => {
                self.take(8)?;
            }

            // Stack: MARK, POP, POP_MARK, DUP
            b'(' => self.marks.push(self.stack.len()),
            b'0' => {
                self.pop()?;
            }
            b'1' => {
                self.pop_to_mark()?;
            }
            b'2' => {
                let top = self.pop()?;
                self.stack.extend([top, top]);
            }

            // Memo: BINPUT, LONG_BINPUT, MEMOIZE; BINGET, LONG_BINGET
            b'q' => self.put_of(1)?,
            b'r' => self.put_of(4)?,
            0x94 => self.put(self.memo.len() as u64)?,
            b'h' => self.get_of(1)?,
            b'j' => self.get_of(4)?,

            // None, True, False, BINFLOAT
            b'N' | 0x88 | 0x89 => self.push(Object::Opaque),
            b'G' => {
                self.take(8)?;
                self.push(Object::Opaque);
            }

            // BININT, BININT1, BININT2, LONG1, LONG4
            b'J' => {
                let value = self.number(4)? as u32 as i32;
                self.push(Object::Int(value.into()));
            }
            b'K' => self.push_int(1)?,
            b'M' => self.push_int(2)?,
            0x8a => self.push_long(1)?,
            0x8b => self.push_long(4)?,

            // SHORT_BINUNICODE, BINUNICODE, BINUNICODE8
            0x8c => self.push_text(1)?,
            b'X' => self.push_text(4)?,
            0x8d => self.push_text(8)?,

            // BINSTRING, SHORT_BINSTRING; BINBYTES, SHORT_BINBYTES, BINBYTES8, BYTEARRAY8
            b'T' | b'B' => self.push_bytes(4)?,
            b'U' | b'C' => self.push_bytes(1)?,
            0x8e | 0x96 => self.push_bytes(8)?,

            // EMPTY_TUPLE, TUPLE1, TUPLE2, TUPLE3, TUPLE
            b')' => self.push(Object::Tuple(Vec::new())),
            0x85..=0x87 => {
                let n = usize::from(op - 0x84);
                let start = self.stack.len().checked_sub(n).ok_or_else(underflow)?;
                let items = self.stack.split_off(start);
                self.push(Object::Tuple(items));
            }
            b't' => {
                let items = self.pop_to_mark()?;
                self.push(Object::Tuple(items));
            }

            // EMPTY_LIST, LIST, APPEND, APPENDS
            b']' => self.push(Object::List(Vec::new())),
            b'l' => {
                let items = self.pop_to_mark()?;
                self.push(Object::List(items));
            }
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])?;
            }
            b'e' => {
                let items = self.pop_to_mark()?;
                self.append(items)?;
            }

            // EMPTY_DICT, DICT, SETITEM, SETITEMS
            b'}' => self.push(Object::Dict(Vec::new())),
            b'd' => {
                let items = self.pop_to_mark()?;
                self.push(Object::Dict(Vec::new()));
                self.set_items(items)?;
            }
            b's' => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.set_items(vec![key, value])?;
            }
            b'u' => {
                let items = self.pop_to_mark()?;
                self.set_items(items)?;
            }

            // EMPTY_SET, ADDITEMS, FROZENSET
            0x8f => self.push(Object::Opaque),
            0x90 => {
                self.pop_to_mark()?;
            }
            0x91 => {
                self.pop_to_mark()?;
                self.push(Object::Opaque);
            }

            // GLOBAL, STACK_GLOBAL
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.push(Object::Global(format!("{module}.{name}")));
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let global = match (self.pickle.object(module), self.pickle.object(name)) {
                    (Object::Text(module), Object::Text(name)) => {
                        Object::Global(format!("{module}.{name}"))
                    }
                    _ => return Err(damaged("a class is named by what is no text")),
                };
                self.push(global);
            }

            // REDUCE, NEWOBJ, NEWOBJ_EX, BUILD
            b'R' => {
                let arguments = self.pop()?;
                let function = self.pop()?;
                let result = self.pickle.call(function, arguments);
                self.push(result);
            }
            0x81 => {
                self.pop()?;
                self.new_object()?;
            }
            0x92 => {
                self.pop()?;
                self.pop()?;
                self.new_object()?;
            }
            b'b' => {
                // The state of an object: the object stays on the stack.
                self.pop()?;
                self.top()?;
            }

            // BINPERSID
            b'Q' => {
                let id = self.pop()?;
                let object = self.pickle.persistent(id);
                self.push(object);
            }

            // EXT1, EXT2, EXT4: classes by number
            0x82 => self.push_extension(1)?,
            0x83 => self.push_extension(2)?,
            0x84 => self.push_extension(4)?,

            _ => {
                return Err(damaged(&format!(
                    "opcode {op:#04x} at byte {} does not occur in checkpoints",
                    self.at - 1
                )));
            }
        }
        Ok(())
    }

    fn new_object(&mut self) -> Result<(), ReadError> {
        let class = self.pop()?;
        let object = match self.pickle.object(class) {
            Object::Global(name) if is_dict(name) => Object::Dict(Vec::new()),
            _ => Object::Opaque,
        };
        self.push(object);
        Ok(())
    }

    /// Appends to the list on top; what a class does with items is unknown.
    fn append(&mut self, items: Vec<Id>) -> Result<(), ReadError> {
        let top = self.top()?;
        if let Object::List(list) = self.pickle.object_mut(top) {
            list.extend(items);
        }
        Ok(())
    }

    fn set_items(&mut self, items: Vec<Id>) -> Result<(), ReadError> {
        let top = self.top()?;
        if !items.len().is_multiple_of(2) {
            return Err(damaged("a key has no value"));
        }
        if let Object::Dict(entries) = self.pickle.object_mut(top) {
            entries.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1])));
        }
        Ok(())
    }

    fn push(&mut self, object: Object) {
        let id = self.pickle.push(object);
        self.stack.push(id);
    }

    fn pop(&mut self) -> Result<Id, ReadError> {
        self.stack.pop().ok_or_else(underflow)
    }

    fn top(&self) -> Result<Id, ReadError> {
        self.stack.last().copied().ok_or_else(underflow)
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>, ReadError> {
        let mark = self.marks.pop().ok_or_else(underflow)?;
        if mark > self.stack.len() {
            return Err(underflow());
        }
        Ok(self.stack.split_off(mark))
    }

    fn put(&mut self, slot: u64) -> Result<(), ReadError> {
        self.memo.insert(slot, self.top()?);
        Ok(())
    }

    fn put_of(&mut self, width: usize) -> Result<(), ReadError> {
        let slot = self.number(width)?;
        self.put(slot)
    }

    fn get_of(&mut self, width: usize) -> Result<(), ReadError> {
        let slot = self.number(width)?;
        let id = self.memo.get(&slot);
        let id = id.ok_or_else(|| damaged("it refers to an object that was not stored"))?;
        self.stack.push(*id);
        Ok(())
    }

    fn push_int(&mut self, width: usize) -> Result<(), ReadError> {
        let value = self.number(width)?;
        self.push(Object::Int(value as i64));
        Ok(())
    }

    /// An integer of any length; those beyond 64 bits are not looked into.
    fn push_long(&mut self, width: usize) -> Result<(), ReadError> {
        let length = self.number(width)?;
        let bytes = self.take(length)?;
        let object = match bytes.len() {
            0 => Object::Int(0),
            1..=8 => {
                let fill = if bytes[bytes.len() - 1] >= 0x80 {
                    0xff
                } else {
                    0
                };
                let mut wide = [fill; 8];
                wide[..bytes.len()].copy_from_slice(bytes);
                Object::Int(i64::from_le_bytes(wide))
            }
            _ => Object::Opaque,
        };
        self.push(object);
        Ok(())
    }

    fn push_text(&mut self, width: usize) -> Result<(), ReadError> {
        let length = self.number(width)?;
        let text = String::from_utf8_lossy(self.take(length)?).into_owned();
        self.push(Object::Text(text));
        Ok(())
    }

    fn push_bytes(&mut self, width: usize) -> Result<(), ReadError> {
        let length = self.number(width)?;
        self.take(length)?;
        self.push(Object::Opaque);
        Ok(())
    }

    fn push_extension(&mut self, width: u64) -> Result<(), ReadError> {
        self.take(width)?;
        self.push(Object::Opaque);
        Ok(())
    }

    /// The little-endian number of `width` bytes.
    fn number(&mut self, width: usize) -> Result<u64, ReadError> {
        let bytes = self.take(width as u64)?;
        Ok(bytes.iter().rev().fold(0, |sum, &b| sum << 8 | b as u64))
    }

    fn take(&mut self, n: u64) -> Result<&[u8], ReadError> {
        let rest = &self.bytes[self.at..];
        if n > rest.len() as u64 {
            return Err(damaged("it ends too early"));
        }
        self.at += n as usize;
        Ok(&rest[..n as usize])
    }

    fn line(&mut self) -> Result<String, ReadError> {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().position(|&b| b == b'\n');
        let end = end.ok_or_else(|| damaged("it ends too early"))?;
        self.at += end + 1;
        Ok(String::from_utf8_lossy(&rest[..end]).into_owned())
    }
}

fn underflow() -> ReadError {
    damaged("it takes more from its stack than there is")
}

fn damaged(what: &str) -> ReadError {
    format!("its pickle is damaged: {what}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_classes_stay_unknown_and_keep_nothing_from_being_read() {
        // {"config": evil.Config(1) with state {"a": 1}, "n": 5}, protocol 2.
        let bytes = b"\x80\x02}(X\x06\0\0\0configcevil\nConfig\nK\x01\x85R}X\x01\0\0\0aK\x01sbX\x01\0\0\0nK\x05u.";
        let pickle = read(bytes).unwrap();
        let config = pickle.entry(pickle.root, "config").unwrap();
        assert_eq!(*pickle.object(config), Object::Opaque);
        let n = pickle.entry(pickle.root, "n").unwrap();
        assert_eq!(*pickle.object(n), Object::Int(5));
    }

    #[test]
    fn integers_of_all_lengths_are_read() {
        // [256, -2, 2^32 as LONG1, -1 as LONG1]
        let bytes = b"\x80\x02](M\x00\x01J\xfe\xff\xff\xff\x8a\x05\0\0\0\0\x01\x8a\x01\xffe.";
        let pickle = read(bytes).unwrap();
        let Object::List(items) = pickle.object(pickle.root) else {
            panic!("no list");
        };
        let items: Vec<&Object> = items.iter().map(|&id| pickle.object(id)).collect();
        let expected = [256, -2, 1 << 32, -1].map(Object::Int);
        assert_eq!(items, expected.iter().collect::<Vec<_>>());
    }

    #[test]
    fn damaged_pickles_are_refused() {
        for (bytes, words) in [
            (&b"\x80\x02}"[..], "ends too early"),
            (b"\x80\x02X\xff\xff\xff\xffab", "ends too early"),
            (b"\x80\x02R.", "stack"),
            (b"\x80\x02(0u.", "stack"),
            (b"\x80\x02h\x07.", "not stored"),
            (b"\x80\x02}(K\x01u.", "no value"),
            (b"\x80\x09.", "protocol 9"),
            (b"I12\n.", "opcode 0x49"),
        ] {
            let error = read(bytes).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
