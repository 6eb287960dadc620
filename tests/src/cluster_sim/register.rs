//! Whether a history of one register is linearizable: there is an order of its operations, each at
//! a moment between its question and its answer, in which every read gives the last write's value.
//!
//! As every value is written once, this can be decided exactly (Gibbons and Korach, "Testing Shared
//! Memories", 1997): a write and its reads stand together in any such order. Where they cannot all
//! have been at one moment, the value was there for sure from the first answer to the last
//! question: no two values may be there for sure at once, and no value's every operation may fall
//! within.

use std::collections::BTreeMap;

/// A write, or a read of the register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// Nothing before the first write.
    pub value: Option<u64>,
    pub writes: bool,
    pub asked_ns: u64,
    /// Never, if it is not known whether it was done.
    pub answered_ns: u64,
}

/// All operations with one value.
#[derive(Clone, Copy, Debug)]
struct Cluster {
    value: Option<u64>,
    first_answer_ns: u64,
    last_question_ns: u64,
    written_from_ns: Option<u64>,
    reads: usize,
}

impl Cluster {
    fn lasts(&self) -> bool {
        self.first_answer_ns < self.last_question_ns
    }
}

pub fn check(accesses: &[Access]) -> Result<(), String> {
    let mut clusters = collect(accesses);
    // Of a write that nobody saw and that was never answered, nothing is known.
    clusters.retain(|cluster| cluster.reads > 0 || cluster.first_answer_ns < u64::MAX);
    for access in accesses.iter().filter(|access| !access.writes) {
        let cluster = clusters.iter().find(|cluster| cluster.value == access.value);
        let written = cluster.and_then(|cluster| cluster.written_from_ns);
        if written.is_none_or(|from_ns| access.answered_ns < from_ns) {
            return Err(format!("{access:?} reads what nobody had written"));
        }
    }
    let mut lasting: Vec<Cluster> = clusters.iter().copied().filter(Cluster::lasts).collect();
    lasting.sort_by_key(|cluster| cluster.first_answer_ns);
    for two in lasting.windows(2) {
        if two[1].first_answer_ns < two[0].last_question_ns {
            return Err(format!("both were there for sure: {:?} and {:?}", two[0], two[1]));
        }
    }
    for moment in clusters.iter().filter(|cluster| !cluster.lasts()) {
        let (from_ns, to_ns) = (moment.last_question_ns, moment.first_answer_ns);
        let around = lasting
            .iter()
            .find(|other| other.first_answer_ns < from_ns && to_ns < other.last_question_ns);
        if let Some(around) = around {
            return Err(format!("{moment:?} was while another was there for sure: {around:?}"));
        }
    }
    Ok(())
}

fn collect(accesses: &[Access]) -> Vec<Cluster> {
    let nothing = Cluster {
        value: None,
        first_answer_ns: 0,
        last_question_ns: 0,
        written_from_ns: Some(0),
        reads: 0,
    };
    let mut clusters = BTreeMap::from([(None, nothing)]);
    for access in accesses {
        let cluster = clusters.entry(access.value).or_insert(Cluster {
            value: access.value,
            first_answer_ns: u64::MAX,
            written_from_ns: None,
            ..nothing
        });
        cluster.first_answer_ns = cluster.first_answer_ns.min(access.answered_ns);
        cluster.last_question_ns = cluster.last_question_ns.max(access.asked_ns);
        if access.writes {
            cluster.written_from_ns = Some(access.asked_ns);
        }
        cluster.reads += usize::from(!access.writes);
    }
    clusters.into_values().collect()
}
