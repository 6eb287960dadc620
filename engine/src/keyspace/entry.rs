//! A key and its value in one allocation: the thing a database's table points to.
//!
//! ```text
//! header: kind:u8 access:u24 | expires:bit31 key_len:u31 | [expires_at:i64] | payload | key [|
//! value]
//! payload: embedded string: value_len:u32 everything else: 8 bytes, an integer or an owned
//! pointer
//! ```
//! The allocation takes a whole class of the allocator, so that a string can change its length in
//! place as long as it stays in its class.
#![allow(unsafe_code)]
// JUSTIFICATION: safe forms cost an extra allocation or 16 more bytes a key (Box<[u8]> is a fat
// pointer, an enum of values is 16 bytes): measured, 69 bytes an entry of 16 + 16 bytes
// is what the best peer needs, 63 this.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::NonNull;

use crate::limits::EMBEDDED_STRING_BYTES_MAX;
use crate::number::parse_i64;
use crate::rng::Rng;
use crate::table::alloc_size;
use crate::value::thin::ThinBytes;
use crate::value::{Hash, List, Set, ZSet};

use super::access::AccessClock;

#[repr(C)]
struct Header {
    /// Low 8 bits: [`Kind`]; high 24 bits: access clock.
    kind_access: u32,
    /// Bit 31: an expiry follows; bits 0..31: length of the key.
    key_len: u32,
}

const EXPIRES: u32 = 1 << 31;
const ALIGN: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    Integer,
    Embedded,
    Raw,
    List,
    Set,
    Hash,
    ZSet,
}

/// A value on its way into or out of an entry.
pub enum Value {
    Integer(i64),
    /// A string that is kept apart from its key; `OBJECT ENCODING` says `raw`.
    Raw(ThinBytes),
    List(List),
    Set(Set),
    Hash(Hash),
    ZSet(ZSet),
}

#[derive(Clone, Copy)]
pub enum ValueRef<'a> {
    Integer(i64),
    /// Shares the allocation with its key.
    Embedded(&'a [u8]),
    Raw(&'a ThinBytes),
    List(&'a List),
    Set(&'a Set),
    Hash(&'a Hash),
    ZSet(&'a ZSet),
}

impl ValueRef<'_> {
    /// What it takes beside the entry that holds it. A few additions: every value keeps count of
    /// its own memory.
    #[inline]
    pub fn memory_bytes(self) -> usize {
        match self {
            ValueRef::Integer(_) | ValueRef::Embedded(_) => 0,
            ValueRef::Raw(text) => text.memory_bytes(),
            ValueRef::List(list) => list.memory_bytes(),
            ValueRef::Set(set) => set.memory_bytes(),
            ValueRef::Hash(hash) => hash.memory_bytes(),
            ValueRef::ZSet(zset) => zset.memory_bytes(),
        }
    }

    /// A copy with an allocation of its own.
    pub fn to_value(self) -> Value {
        match self {
            ValueRef::Integer(integer) => Value::Integer(integer),
            ValueRef::Embedded(text) => Value::Raw(ThinBytes::from(text)),
            ValueRef::Raw(bytes) => Value::Raw(bytes.clone()),
            ValueRef::List(list) => Value::List(list.clone()),
            ValueRef::Set(set) => Value::Set(set.clone()),
            ValueRef::Hash(hash) => Value::Hash(hash.clone()),
            ValueRef::ZSet(zset) => Value::ZSet(zset.clone()),
        }
    }
}

impl Value {
    pub fn view(&self) -> ValueRef<'_> {
        match self {
            Value::Integer(integer) => ValueRef::Integer(*integer),
            Value::Raw(bytes) => ValueRef::Raw(bytes),
            Value::List(list) => ValueRef::List(list),
            Value::Set(set) => ValueRef::Set(set),
            Value::Hash(hash) => ValueRef::Hash(hash),
            Value::ZSet(zset) => ValueRef::ZSet(zset),
        }
    }

    /// What it takes beside the entry that holds it.
    pub fn memory_bytes(&self) -> usize {
        self.view().memory_bytes()
    }
}

pub enum ValueMut<'a> {
    Integer(&'a mut i64),
    Embedded(&'a mut [u8]),
    Raw(&'a mut ThinBytes),
    List(&'a mut List),
    Set(&'a mut Set),
    Hash(&'a mut Hash),
    ZSet(&'a mut ZSet),
}

impl Value {
    pub fn as_mut(&mut self) -> ValueMut<'_> {
        match self {
            Value::Integer(integer) => ValueMut::Integer(integer),
            Value::Raw(bytes) => ValueMut::Raw(bytes),
            Value::List(list) => ValueMut::List(list),
            Value::Set(set) => ValueMut::Set(set),
            Value::Hash(hash) => ValueMut::Hash(hash),
            Value::ZSet(zset) => ValueMut::ZSet(zset),
        }
    }
}

/// What was there before a value was replaced.
#[derive(Default)]
pub struct Replaced {
    /// If freeing it may take long.
    pub old: Option<Value>,
    /// How much more the entry takes now.
    pub grown: isize,
}

/// An owned entry: 8 bytes, with a niche for `Option`.
#[repr(transparent)]
pub struct Entry(NonNull<Header>);

// SAFETY: an entry owns its allocation alone and what it points to is Send; it moves with its
// shard.
unsafe impl Send for Entry {}

impl crate::table::Entry for Entry {
    fn key(&self) -> &[u8] {
        Entry::key(self)
    }
}

impl Entry {
    /// A string as SET stores it: an integer where the text is one, next to the key where short.
    pub fn string(key: &[u8], value: &[u8], expires_at_ms: Option<i64>) -> Entry {
        match parse_i64(value) {
            Some(integer) => Entry::new(key, Value::Integer(integer), expires_at_ms),
            None => Entry::text(key, value, expires_at_ms),
        }
    }

    /// A string that stays text even if it reads as an integer.
    pub fn text(key: &[u8], value: &[u8], expires_at_ms: Option<i64>) -> Entry {
        if value.len() > EMBEDDED_STRING_BYTES_MAX {
            return Entry::new(key, Value::Raw(ThinBytes::from(value)), expires_at_ms);
        }
        let mut entry = Entry::allocate(Kind::Embedded, key, expires_at_ms, value.len());
        // SAFETY: the allocation was made for this length, right behind the key.
        unsafe {
            entry.payload().cast::<u32>().write(value.len() as u32);
        }
        entry.embedded_mut().copy_from_slice(value);
        entry
    }

    pub fn new(key: &[u8], value: Value, expires_at_ms: Option<i64>) -> Entry {
        let entry = Entry::allocate(kind_of(&value), key, expires_at_ms, 0);
        // SAFETY: every kind but Embedded has an 8 byte payload, 8-aligned behind the header.
        unsafe { write_value(entry.payload(), value) };
        entry
    }

    pub fn key(&self) -> &[u8] {
        // SAFETY: `key_len` bytes behind the payload were written when the entry was made.
        unsafe { std::slice::from_raw_parts(self.key_start(), self.key_len()) }
    }

    pub fn expires_at_ms(&self) -> Option<i64> {
        let at = self.header().key_len & EXPIRES != 0;
        // SAFETY: the bit says that an i64 follows the header.
        at.then(|| unsafe { self.0.as_ptr().add(1).cast::<i64>().read() })
    }

    /// Sets or clears the expiry. The entry moves in memory when it gains or loses one. Returns
    /// how much more it takes now.
    pub fn set_expires_at_ms(&mut self, at_ms: Option<i64>) -> isize {
        match (self.expires_at_ms(), at_ms) {
            (None, None) => 0,
            (Some(_), Some(at_ms)) => {
                // SAFETY: the entry has room for an expiry, as it has one.
                unsafe { self.0.as_ptr().add(1).cast::<i64>().write(at_ms) };
                0
            }
            _ => {
                let before = self.allocated_bytes();
                let access = self.access();
                let mut moved = match self.value() {
                    ValueRef::Embedded(text) => Entry::text(self.key(), text, at_ms),
                    _ => {
                        let value = self.take_value();
                        Entry::new(self.key(), value, at_ms)
                    }
                };
                moved.set_access(access);
                *self = moved;
                self.allocated_bytes() as isize - before as isize
            }
        }
    }

    /// 24 bits for the eviction policy: a clock, or a counter and a clock.
    pub fn access(&self) -> u32 {
        self.header().kind_access >> 8
    }

    pub fn set_access(&mut self, access: u32) {
        let header = self.header_mut();
        header.kind_access = (header.kind_access & 0xff) | (access << 8);
    }

    /// Notes that the entry is used now. Leaves its memory untouched where that changes nothing.
    #[inline]
    pub fn note_use(&mut self, clock: AccessClock, dice: &mut Rng) {
        let access = clock.used(self.access(), dice);
        if access != self.access() {
            self.set_access(access);
        }
    }

    pub fn value(&self) -> ValueRef<'_> {
        let payload = self.payload();
        // SAFETY: the kind says what the payload holds; it lives as long as the entry is borrowed.
        unsafe {
            match self.kind() {
                Kind::Integer => ValueRef::Integer(payload.cast::<i64>().read()),
                Kind::Embedded => ValueRef::Embedded(self.embedded()),
                Kind::Raw => ValueRef::Raw(&*payload.cast()),
                Kind::List => ValueRef::List(&*payload.cast()),
                Kind::Set => ValueRef::Set(&*payload.cast()),
                Kind::Hash => ValueRef::Hash(&*payload.cast()),
                Kind::ZSet => ValueRef::ZSet(&*payload.cast()),
            }
        }
    }

    pub fn value_mut(&mut self) -> ValueMut<'_> {
        let payload = self.payload();
        // SAFETY: as in `value`, and the entry is borrowed mutably.
        unsafe {
            match self.kind() {
                Kind::Integer => ValueMut::Integer(&mut *payload.cast()),
                Kind::Embedded => ValueMut::Embedded(self.embedded_mut()),
                Kind::Raw => ValueMut::Raw(&mut *payload.cast()),
                Kind::List => ValueMut::List(&mut *payload.cast()),
                Kind::Set => ValueMut::Set(&mut *payload.cast()),
                Kind::Hash => ValueMut::Hash(&mut *payload.cast()),
                Kind::ZSet => ValueMut::ZSet(&mut *payload.cast()),
            }
        }
    }

    /// Replaces the value by a string as SET stores it, in place where it fits; the expiry stays.
    pub fn set_string(&mut self, value: &[u8]) -> Replaced {
        match (parse_i64(value), self.kind()) {
            (Some(integer), Kind::Integer) => {
                self.replace_value(Value::Integer(integer));
                return Replaced::default();
            }
            (None, Kind::Embedded) if self.try_set_embedded(value) => {
                return Replaced::default();
            }
            _ => {}
        }
        let fresh = Entry::string(self.key(), value, self.expires_at_ms());
        self.replace_by(fresh)
    }

    /// As [`Entry::set_string`], but digits stay text.
    pub fn set_text(&mut self, value: &[u8]) -> Replaced {
        let fresh = Entry::text(self.key(), value, self.expires_at_ms());
        self.replace_by(fresh)
    }

    fn replace_by(&mut self, fresh: Entry) -> Replaced {
        let before = self.memory_bytes() as isize;
        let old = (self.kind() != Kind::Embedded).then(|| self.take_value());
        let access = self.access();
        *self = fresh;
        self.set_access(access);
        Replaced { old: old.and_then(large), grown: self.memory_bytes() as isize - before }
    }

    /// Replaces the value; an embedded string moves out of the entry first.
    pub fn replace_value(&mut self, value: Value) -> Value {
        if self.kind() == Kind::Embedded {
            let old = ThinBytes::from(self.embedded());
            let mut moved = Entry::new(self.key(), value, self.expires_at_ms());
            moved.set_access(self.access());
            *self = moved;
            return Value::Raw(old);
        }
        let old = self.take_value();
        self.put_value(value);
        old
    }

    /// The string as growable bytes, converted in place if it was an integer or embedded.
    pub fn raw_string_mut(&mut self) -> Option<&mut ThinBytes> {
        match self.value() {
            ValueRef::Raw(_) => {}
            ValueRef::Integer(integer) => {
                let mut digits = itoa::Buffer::new();
                let text = ThinBytes::from(digits.format(integer).as_bytes());
                self.replace_value(Value::Raw(text));
            }
            ValueRef::Embedded(text) => {
                let text = ThinBytes::from(text);
                self.replace_value(Value::Raw(text));
            }
            _ => return None,
        }
        match self.value_mut() {
            ValueMut::Raw(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// Takes the entry apart, giving up the key.
    pub fn into_value(mut self) -> Value {
        self.take_value_or_copy()
    }

    /// What the entry takes with everything it owns.
    #[inline]
    pub fn memory_bytes(&self) -> usize {
        self.allocated_bytes() + self.value().memory_bytes()
    }

    /// Size of the entry's own allocation.
    fn allocated_bytes(&self) -> usize {
        self.layout().size()
    }

    fn try_set_embedded(&mut self, value: &[u8]) -> bool {
        let old_len = self.embedded().len();
        let expires = self.expires_at_ms().is_some();
        let size = |len| embedded_size(expires, self.key_len(), len);
        if value.len() > EMBEDDED_STRING_BYTES_MAX || size(value.len()) != size(old_len) {
            return false;
        }
        // SAFETY: the same class holds both lengths; the payload of this kind is the length.
        unsafe { self.payload().cast::<u32>().write(value.len() as u32) };
        self.embedded_mut().copy_from_slice(value);
        true
    }

    fn allocate(kind: Kind, key: &[u8], expires_at_ms: Option<i64>, embedded: usize) -> Entry {
        assert!(key.len() < EXPIRES as usize, "a key is shorter than 2 GiB");
        let expires = expires_at_ms.is_some();
        let layout = entry_layout(kind, expires, key.len(), embedded);
        // SAFETY: the layout's size is not zero.
        let pointer = unsafe { alloc(layout) }.cast::<Header>();
        let Some(pointer) = NonNull::new(pointer) else { handle_alloc_error(layout) };
        let key_len = key.len() as u32 | if expires { EXPIRES } else { 0 };
        // SAFETY: the allocation has room for header, expiry, payload and key, in this order.
        unsafe {
            pointer.as_ptr().write(Header { kind_access: kind as u32, key_len });
            if let Some(at_ms) = expires_at_ms {
                pointer.as_ptr().add(1).cast::<i64>().write(at_ms);
            }
            let entry = Entry(pointer);
            entry.key_start().copy_from_nonoverlapping(key.as_ptr(), key.len());
            entry
        }
    }

    fn header(&self) -> &Header {
        // SAFETY: the pointer is to a live allocation that begins with a header.
        unsafe { self.0.as_ref() }
    }

    fn header_mut(&mut self) -> &mut Header {
        // SAFETY: as in `header`, borrowed mutably.
        unsafe { self.0.as_mut() }
    }

    fn kind(&self) -> Kind {
        // SAFETY: the low byte is only ever written from a `Kind`.
        unsafe { std::mem::transmute::<u8, Kind>(self.header().kind_access as u8) }
    }

    fn key_len(&self) -> usize {
        (self.header().key_len & !EXPIRES) as usize
    }

    fn payload(&self) -> *mut u8 {
        let offset = payload_offset(self.header().key_len & EXPIRES != 0);
        // SAFETY: the payload begins inside the allocation.
        unsafe { self.0.as_ptr().cast::<u8>().add(offset) }
    }

    fn key_start(&self) -> *mut u8 {
        // SAFETY: the key follows the payload inside the allocation.
        unsafe { self.payload().add(payload_size(self.kind())) }
    }

    fn embedded(&self) -> &[u8] {
        debug_assert_eq!(self.kind(), Kind::Embedded);
        // SAFETY: an embedded value of `value_len` bytes follows the key.
        unsafe {
            let len = self.payload().cast::<u32>().read() as usize;
            std::slice::from_raw_parts(self.key_start().add(self.key_len()), len)
        }
    }

    fn embedded_mut(&mut self) -> &mut [u8] {
        debug_assert_eq!(self.kind(), Kind::Embedded);
        // SAFETY: as in `embedded`, borrowed mutably.
        unsafe {
            let len = self.payload().cast::<u32>().read() as usize;
            std::slice::from_raw_parts_mut(self.key_start().add(self.key_len()), len)
        }
    }

    fn layout(&self) -> Layout {
        let embedded = if self.kind() == Kind::Embedded { self.embedded().len() } else { 0 };
        let expires = self.header().key_len & EXPIRES != 0;
        entry_layout(self.kind(), expires, self.key_len(), embedded)
    }

    /// Moves an unembedded value out and leaves integer 0, so that dropping the entry is harmless.
    fn take_value(&mut self) -> Value {
        debug_assert_ne!(self.kind(), Kind::Embedded);
        let payload = self.payload();
        let kind = self.kind();
        self.set_kind(Kind::Integer);
        // SAFETY: the payload is moved out once: the kind no longer says that it is owned here.
        unsafe {
            match kind {
                Kind::Integer | Kind::Embedded => Value::Integer(payload.cast::<i64>().read()),
                Kind::Raw => Value::Raw(payload.cast::<ThinBytes>().read()),
                Kind::List => Value::List(payload.cast::<List>().read()),
                Kind::Set => Value::Set(payload.cast::<Set>().read()),
                Kind::Hash => Value::Hash(payload.cast::<Hash>().read()),
                Kind::ZSet => Value::ZSet(payload.cast::<ZSet>().read()),
            }
        }
    }

    fn take_value_or_copy(&mut self) -> Value {
        if self.kind() == Kind::Embedded {
            return Value::Raw(ThinBytes::from(self.embedded()));
        }
        self.take_value()
    }

    fn put_value(&mut self, value: Value) {
        debug_assert_eq!(self.kind(), Kind::Integer);
        self.set_kind(kind_of(&value));
        // SAFETY: every kind but Embedded, which `kind_of` never gives, has this payload.
        unsafe { write_value(self.payload(), value) };
    }

    fn set_kind(&mut self, kind: Kind) {
        let header = self.header_mut();
        header.kind_access = (header.kind_access & !0xff) | kind as u32;
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let layout = self.layout();
        if self.kind() != Kind::Embedded {
            drop(self.take_value());
        }
        // SAFETY: allocated with the layout that kind class, expiry and lengths give; taking the
        // value changed the kind only among those with the same payload size.
        unsafe { dealloc(self.0.as_ptr().cast(), layout) };
    }
}

fn large(value: Value) -> Option<Value> {
    (!matches!(value, Value::Integer(_))).then_some(value)
}

fn kind_of(value: &Value) -> Kind {
    match value {
        Value::Integer(_) => Kind::Integer,
        Value::Raw(_) => Kind::Raw,
        Value::List(_) => Kind::List,
        Value::Set(_) => Kind::Set,
        Value::Hash(_) => Kind::Hash,
        Value::ZSet(_) => Kind::ZSet,
    }
}

/// # Safety
/// `payload` is 8-aligned, has room for 8 bytes and owns nothing yet.
unsafe fn write_value(payload: *mut u8, value: Value) {
    const {
        assert!(size_of::<Hash>() == 8 && size_of::<ZSet>() == 8);
        assert!(size_of::<ThinBytes>() == 8 && size_of::<List>() == 8 && size_of::<Set>() == 8);
    }
    // SAFETY: the caller's promise; each of these types is 8 bytes.
    unsafe {
        match value {
            Value::Integer(integer) => payload.cast::<i64>().write(integer),
            Value::Raw(bytes) => payload.cast::<ThinBytes>().write(bytes),
            Value::List(list) => payload.cast::<List>().write(list),
            Value::Set(set) => payload.cast::<Set>().write(set),
            Value::Hash(hash) => payload.cast::<Hash>().write(hash),
            Value::ZSet(zset) => payload.cast::<ZSet>().write(zset),
        }
    }
}

const fn payload_offset(expires: bool) -> usize {
    size_of::<Header>() + if expires { size_of::<i64>() } else { 0 }
}

const fn payload_size(kind: Kind) -> usize {
    if matches!(kind, Kind::Embedded) { size_of::<u32>() } else { size_of::<u64>() }
}

fn entry_size(kind: Kind, expires: bool, key_len: usize, embedded: usize) -> usize {
    alloc_size(payload_offset(expires) + payload_size(kind) + key_len + embedded)
}

fn embedded_size(expires: bool, key_len: usize, embedded: usize) -> usize {
    entry_size(Kind::Embedded, expires, key_len, embedded)
}

fn entry_layout(kind: Kind, expires: bool, key_len: usize, embedded: usize) -> Layout {
    let size = entry_size(kind, expires, key_len, embedded);
    Layout::from_size_align(size, ALIGN).expect("an entry is far smaller than isize::MAX")
}

#[cfg(test)]
mod tests;
