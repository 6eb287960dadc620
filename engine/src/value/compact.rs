//! An owned value of one of three forms in eight bytes: the form's number lies in the low bits of
//! its pointer.
//!
//! JUSTIFICATION for `unsafe` here: an enum of the three would take 16 bytes in every key's slot.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use super::alloc_size;
use super::intset::{IntSet, IntSetRef};
use super::packed::{Packed, PackedRef};
use super::thin::{ThinBox, ThinBytes};

/// A type that owns what one thin pointer points to.
///
/// # Safety
/// `into_raw` returns a pointer whose low three bits are zero, and `from_raw` makes of it the same
/// value again.
pub unsafe trait ThinOwned: Sized {
    /// What a shared borrow sees.
    type View<'a>
    where
        Self: 'a;

    fn into_raw(self) -> NonNull<u8>;

    /// What the block it points to takes, without what that points to in turn.
    fn block_bytes(&self) -> usize;

    /// # Safety
    /// `raw` came from `into_raw` of this type and is used as an owner once.
    unsafe fn from_raw(raw: NonNull<u8>) -> Self;

    /// # Safety
    /// `raw` came from `into_raw` of this type, and nothing changes or frees it during `'a`.
    unsafe fn view<'a>(raw: NonNull<u8>) -> Self::View<'a>
    where
        Self: 'a;
}

/// One of three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form<A, B, C> {
    A(A),
    B(B),
    C(C),
}

const TAG_MASK: usize = 7;
const TAG_A: usize = 0;
const TAG_B: usize = 1;
const TAG_C: usize = 2;
/// The value is on loan to a `LoanMut`.
const TAG_LENT: usize = 3;

/// An owned A, B or C in eight bytes; `Option` of it too.
///
/// Invariant: `word` is what `into_raw` of the form gave, with the form's tag added; or lent.
pub struct Compact<A: ThinOwned, B: ThinOwned, C: ThinOwned> {
    word: NonNull<u8>,
    owns: PhantomData<(A, B, C)>,
}

// SAFETY: it owns its value alone.
unsafe impl<A, B, C> Send for Compact<A, B, C>
where
    A: ThinOwned + Send,
    B: ThinOwned + Send,
    C: ThinOwned + Send,
{
}

impl<A: ThinOwned, B: ThinOwned, C: ThinOwned> Compact<A, B, C> {
    pub fn new(form: Form<A, B, C>) -> Self {
        Self { word: pack(form), owns: PhantomData }
    }

    #[inline]
    pub fn get(&self) -> Form<A::View<'_>, B::View<'_>, C::View<'_>> {
        let (raw, tag) = unpack(self.word);
        // SAFETY: by the invariant the pointer is of the form that the tag names; the views
        // borrow `self`, so nothing changes or frees it meanwhile.
        unsafe {
            match tag {
                TAG_A => Form::A(A::view(raw)),
                TAG_B => Form::B(B::view(raw)),
                TAG_C => Form::C(C::view(raw)),
                _ => panic!("a value that was lent and never came back"),
            }
        }
    }

    /// What the form's own block takes.
    pub fn block_bytes(&self) -> usize {
        let (raw, tag) = unpack(self.word);
        // SAFETY: by the invariant the pointer is of the form that the tag names. The second
        // owner is only read, while `self` is borrowed, and never dropped.
        unsafe {
            match tag {
                TAG_A => ManuallyDrop::new(A::from_raw(raw)).block_bytes(),
                TAG_B => ManuallyDrop::new(B::from_raw(raw)).block_bytes(),
                TAG_C => ManuallyDrop::new(C::from_raw(raw)).block_bytes(),
                _ => panic!("a value that was lent and never came back"),
            }
        }
    }

    /// Lends the value; it comes back when the loan ends.
    #[inline]
    pub fn get_mut(&mut self) -> FormMut<'_, A, B, C> {
        let home = &mut self.word;
        match take(home) {
            Form::A(value) => Form::A(LoanMut::new(value, home, TAG_A)),
            Form::B(value) => Form::B(LoanMut::new(value, home, TAG_B)),
            Form::C(value) => Form::C(LoanMut::new(value, home, TAG_C)),
        }
    }

    /// Puts in another and returns the old one.
    pub fn replace(&mut self, form: Form<A, B, C>) -> Form<A, B, C> {
        let old = take(&mut self.word);
        self.word = pack(form);
        old
    }
}

/// What `get_mut` lends.
pub type FormMut<'a, A, B, C> = Form<LoanMut<'a, A>, LoanMut<'a, B>, LoanMut<'a, C>>;

impl<A: ThinOwned, B: ThinOwned, C: ThinOwned> Drop for Compact<A, B, C> {
    fn drop(&mut self) {
        if unpack(self.word).1 != TAG_LENT {
            drop(take::<A, B, C>(&mut self.word));
        }
    }
}

/// A value on loan. If it is forgotten the value leaks, and its home panics when used again.
pub struct LoanMut<'a, T: ThinOwned> {
    value: ManuallyDrop<T>,
    home: &'a mut NonNull<u8>,
    tag: usize,
}

impl<'a, T: ThinOwned> LoanMut<'a, T> {
    fn new(value: T, home: &'a mut NonNull<u8>, tag: usize) -> Self {
        Self { value: ManuallyDrop::new(value), home, tag }
    }
}

impl<T: ThinOwned> Deref for LoanMut<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: ThinOwned> DerefMut for LoanMut<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T: ThinOwned> Drop for LoanMut<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the value is taken once, here, and not used again.
        let value = unsafe { ManuallyDrop::take(&mut self.value) };
        *self.home = tagged(value.into_raw(), self.tag);
    }
}

fn pack<A: ThinOwned, B: ThinOwned, C: ThinOwned>(form: Form<A, B, C>) -> NonNull<u8> {
    match form {
        Form::A(value) => tagged(value.into_raw(), TAG_A),
        Form::B(value) => tagged(value.into_raw(), TAG_B),
        Form::C(value) => tagged(value.into_raw(), TAG_C),
    }
}

#[inline]
fn tagged(raw: NonNull<u8>, tag: usize) -> NonNull<u8> {
    assert!(raw.addr().get() & TAG_MASK == 0, "a thin owner's pointer is aligned to 8");
    raw.map_addr(|address| address | tag)
}

#[inline]
fn unpack(word: NonNull<u8>) -> (NonNull<u8>, usize) {
    let tag = word.addr().get() & TAG_MASK;
    let raw = word.as_ptr().map_addr(|address| address & !TAG_MASK);
    (NonNull::new(raw).unwrap_or(word), tag)
}

/// Takes the value out and leaves the mark of a loan.
#[inline]
fn take<A: ThinOwned, B: ThinOwned, C: ThinOwned>(home: &mut NonNull<u8>) -> Form<A, B, C> {
    let lent = NonNull::new(std::ptr::without_provenance_mut(LENT_ADDRESS)).expect("it is 11");
    let (raw, tag) = unpack(std::mem::replace(home, lent));
    // SAFETY: by the invariant the pointer is of the form that the tag names, and with the mark
    // in its place it is the owner once.
    unsafe {
        match tag {
            TAG_A => Form::A(A::from_raw(raw)),
            TAG_B => Form::B(B::from_raw(raw)),
            TAG_C => Form::C(C::from_raw(raw)),
            _ => panic!("a value that was lent and never came back"),
        }
    }
}

const LENT_ADDRESS: usize = 8 | TAG_LENT;

// SAFETY: the pointer is `ThinBytes`'s own, aligned to 8.
unsafe impl ThinOwned for ThinBytes {
    type View<'a> = &'a [u8];

    fn into_raw(self) -> NonNull<u8> {
        ThinBytes::into_raw(self)
    }

    fn block_bytes(&self) -> usize {
        self.memory_bytes()
    }

    unsafe fn from_raw(raw: NonNull<u8>) -> Self {
        // SAFETY: passed on to the caller.
        unsafe { ThinBytes::from_raw(raw) }
    }

    unsafe fn view<'a>(raw: NonNull<u8>) -> &'a [u8] {
        // SAFETY: passed on to the caller.
        unsafe { ThinBytes::slice_from_raw(raw) }
    }
}

// SAFETY: as of the bytes it wraps.
unsafe impl ThinOwned for Packed {
    type View<'a> = PackedRef<'a>;

    fn into_raw(self) -> NonNull<u8> {
        self.into_thin().into_raw()
    }

    fn block_bytes(&self) -> usize {
        self.memory_bytes()
    }

    unsafe fn from_raw(raw: NonNull<u8>) -> Self {
        // SAFETY: passed on to the caller.
        Packed::from_thin(unsafe { ThinBytes::from_raw(raw) })
    }

    unsafe fn view<'a>(raw: NonNull<u8>) -> PackedRef<'a> {
        // SAFETY: passed on to the caller.
        PackedRef::new(unsafe { ThinBytes::slice_from_raw(raw) })
    }
}

// SAFETY: as of the bytes it wraps.
unsafe impl ThinOwned for IntSet {
    type View<'a> = IntSetRef<'a>;

    fn into_raw(self) -> NonNull<u8> {
        self.into_thin().into_raw()
    }

    fn block_bytes(&self) -> usize {
        self.memory_bytes()
    }

    unsafe fn from_raw(raw: NonNull<u8>) -> Self {
        // SAFETY: passed on to the caller.
        IntSet::from_thin(unsafe { ThinBytes::from_raw(raw) })
    }

    unsafe fn view<'a>(raw: NonNull<u8>) -> IntSetRef<'a> {
        // SAFETY: passed on to the caller.
        IntSetRef::new(unsafe { ThinBytes::slice_from_raw(raw) })
    }
}

// SAFETY: the pointer is of a `T` aligned to at least 8 (checked where it is made).
unsafe impl<T> ThinOwned for ThinBox<T> {
    type View<'a>
        = &'a T
    where
        T: 'a;

    fn into_raw(self) -> NonNull<u8> {
        ThinBox::into_raw(self)
    }

    fn block_bytes(&self) -> usize {
        alloc_size(size_of::<T>())
    }

    unsafe fn from_raw(raw: NonNull<u8>) -> Self {
        // SAFETY: passed on to the caller.
        unsafe { ThinBox::from_raw(raw) }
    }

    unsafe fn view<'a>(raw: NonNull<u8>) -> &'a T
    where
        T: 'a,
    {
        // SAFETY: the caller vouches that a `T` is there and stays unchanged during `'a`.
        unsafe { raw.cast::<T>().as_ref() }
    }
}

/// The form that is never there, for a value of two.
pub enum Never {}

// SAFETY: no value exists.
unsafe impl ThinOwned for Never {
    type View<'a> = Never;

    fn into_raw(self) -> NonNull<u8> {
        match self {}
    }

    fn block_bytes(&self) -> usize {
        match *self {}
    }

    unsafe fn from_raw(_: NonNull<u8>) -> Self {
        unreachable!("no pointer came from a value that cannot be")
    }

    unsafe fn view<'a>(_: NonNull<u8>) -> Never
    where
        Self: 'a,
    {
        unreachable!("no pointer came from a value that cannot be")
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    type Three = Compact<ThinBytes, Packed, ThinBox<Rc<()>>>;

    #[test]
    fn holds_each_form_and_frees_it() {
        assert_eq!(size_of::<Option<Three>>(), 8);
        let counted = Rc::new(());
        let mut three = Three::new(Form::A(ThinBytes::from(&b"bytes"[..])));
        assert!(matches!(three.get(), Form::A(b"bytes")));
        if let Form::A(mut bytes) = three.get_mut() {
            (0..100).for_each(|_| bytes.extend_from_slice(b" and more"));
        }
        assert!(matches!(three.get(), Form::A(bytes) if bytes.len() == 905));
        let mut packed = Packed::new();
        packed.push_back(b"item");
        let old = three.replace(Form::B(packed));
        assert!(matches!(old, Form::A(_)));
        assert!(matches!(three.get(), Form::B(packed) if packed.get(0) == Some(b"item")));
        three.replace(Form::C(ThinBox::new(counted.clone())));
        let Form::C(one) = three.get() else { panic!("it holds the third") };
        let Form::C(two) = three.get() else { panic!("it holds the third") };
        assert_eq!(Rc::strong_count(one), 2);
        assert_eq!(Rc::strong_count(two), 2);
        drop(three);
        assert_eq!(Rc::strong_count(&counted), 1);
    }

    #[test]
    #[should_panic(expected = "lent")]
    fn a_forgotten_loan_is_noticed() {
        let mut three = Three::new(Form::A(ThinBytes::new()));
        std::mem::forget(three.get_mut());
        three.get();
    }
}
