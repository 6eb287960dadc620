//! Bit rot: a flip at every byte of a small data directory's files, one at a time. What comes of
//! each is known beforehand from where the byte lies: the start is refused with file and offset,
//! or the data are what they were. Only the last record of a log that was not sealed may be taken
//! for one that a crash tore, as no record behind it calls it durable: then its entry alone is
//! gone.
//!
//! Every byte is one that holds something, or lies in the same block. Of blocks of zeros that no
//! write has reached yet it is one byte of each sector: a record begins with four bytes that are
//! not zero, at the start of a block, and a header with eight, so no flipped bit makes one of them.
//!
//! - [`image`]: the directory. [`map`]: what each of its bytes is for. [`directory`]: the same in
//!   real files, with those that the simulator does not have.

mod directory;
mod image;
mod map;

use std::collections::BTreeMap;

use image::{Ending, Image};
use map::{Flip, Kind, flips, flips_thinned};

/// How many flips had each outcome.
type Counts = BTreeMap<&'static str, usize>;

/// Flips each of these bits; every outcome is the one that its place asks for.
fn check(image: &Image, flips: &[Flip]) -> Counts {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let parts = flips.chunks(flips.len().div_ceil(threads));
    let counted = std::thread::scope(|scope| {
        let count = |part: &[Flip]| {
            let mut counts = Counts::new();
            for flip in part {
                *counts.entry(check_one(image, flip)).or_default() += 1;
            }
            counts
        };
        let threads: Vec<_> = parts.map(|part| scope.spawn(move || count(part))).collect();
        threads.into_iter().map(|thread| thread.join()).collect::<Vec<_>>()
    });
    let mut sum = Counts::new();
    for counts in counted {
        // The panic of a thread has said what is wrong.
        let counts = counts.expect("every flip has the outcome that it should");
        counts.into_iter().for_each(|(outcome, count)| *sum.entry(outcome).or_default() += count);
    }
    sum
}

/// What the flip came to, if that is right.
fn check_one(image: &Image, flip: &Flip) -> &'static str {
    match (&flip.kind, image.recover_with(flip)) {
        (Kind::Needed { start }, Err(text)) => {
            let says = format!("{} is corrupt at offset {start}:", flip.file.name());
            assert!(text.contains(&says), "{flip:?}: {text}");
            "refused"
        }
        (Kind::Needed { .. }, Ok(_)) => panic!("{flip:?} went unnoticed"),
        (_, Err(text)) => panic!("{flip:?} was refused: {text}"),
        (Kind::Last { core }, Ok((state, _))) => {
            assert_eq!(state, image.without_last(*core), "{flip:?}");
            "last"
        }
        (kind, Ok((state, damaged))) => {
            assert_eq!(state, image.whole, "{flip:?}");
            match kind {
                Kind::Newest => {
                    assert_eq!(damaged, [flip.file.name()], "{flip:?}");
                    "repaired"
                }
                // Of this one a start reads the ends only.
                Kind::Older => "older",
                Kind::Seal => "seal",
                _ => {
                    assert!(damaged.is_empty(), "{flip:?}: {damaged:?}");
                    "unused"
                }
            }
        }
    }
}

#[test]
fn a_flip_at_any_byte_after_an_orderly_stop_is_repaired_or_refused() {
    let image = Image::small(Ending::Stopped);
    let counts = check(&image, &flips(&image));
    for (outcome, least) in [("refused", 2_000), ("repaired", 16_000), ("seal", 144)] {
        assert!(counts.get(outcome).is_some_and(|count| *count >= least), "{counts:?}");
    }
    assert!(!counts.contains_key("last"), "{counts:?}");
}

#[test]
fn a_flip_at_any_byte_after_a_kill_costs_the_last_record_at_most() {
    let image = Image::small(Ending::Killed);
    // The checkpoints, and what is not used, are those of the other test.
    let needed = |flip: &Flip| flip.file.is_log() && flip.kind != Kind::Unused;
    let flips: Vec<Flip> = flips(&image).into_iter().filter(needed).collect();
    let counts = check(&image, &flips);
    for (outcome, least) in [("refused", 2_000), ("last", 144)] {
        assert!(counts.get(outcome).is_some_and(|count| *count >= least), "{counts:?}");
    }
}

/// Logs of several segments, of which some were used before, and large values cut into parts.
#[test]
fn a_flip_in_a_long_log_is_refused() {
    let image = Image::long();
    let counts = check(&image, &flips_thinned(&image, 241));
    assert!(counts.get("refused").is_some_and(|count| *count >= 300), "{counts:?}");
}
