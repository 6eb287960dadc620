//! The records of groups, written and read back.

use super::super::super::GroupEntryRef;
use super::*;
use crate::group::Members;

/// What a group says beside its entries: votes, changes, members, checkpoints that came.
#[test]
fn records_of_groups_are_read_back() {
    let (mut run, _) = Run::start_with(Disk::default(), 8 * SEGMENT_BYTES_MIN);
    let (shard, term) = (ShardId(1), Term(4));
    let vote = Vote { term, voted_for: Some(NodeId(9)) };
    run.writer.append_vote(shard, Vote { term: Term(3), voted_for: None });
    run.writer.append_vote(shard, vote);
    run.writer.append_group_entry(GroupEntryRef {
        shard,
        term,
        index: Index(7),
        decided: Index(5),
        kind: RecordKind::Change,
        participants: 0,
        payload: b"change",
    });
    let members = Members::of_voters([NodeId(9), NodeId(8)]);
    for installed in [false, true] {
        run.writer.append_members(shard, (term, Index(7)), &members, installed);
    }
    run.settle();
    let mut found = Vec::new();
    let tail = recover(&mut run.disk, IDENTITY, &mut |entry| {
        let at = (entry.shard, entry.term, entry.index, entry.decided.0);
        found.push((at, entry.content.map(<[u8]>::to_vec)));
        Ok(())
    });
    assert_eq!(tail.unwrap().votes, [(shard, vote)].into());
    let said = |installed| {
        ((shard, term, Index(7), 0), Content::Members { members: members.clone(), installed })
    };
    let change = ((shard, term, Index(7), 5), Content::Change { payload: b"change".to_vec() });
    assert_eq!(found, [change, said(false), said(true)]);
}

/// A node that forgot its vote could give it twice: it outlives the segment in which it lay.
#[test]
fn votes_outlive_their_segments() {
    let (mut run, _) = Run::start(Disk::default());
    let vote = Vote { term: Term(2), voted_for: Some(NodeId(9)) };
    run.writer.append_vote(ShardId(2), vote);
    for number in 0..40u8 {
        run.append(0, vec![number; 20_000]);
        run.settle();
        let covered = Index(run.indexes[0]);
        run.writer.release_segments(&|_| covered, &KeptFor::NOBODY);
        run.settle();
    }
    assert!(!run.disk.segments.contains_key(&1), "its segment is gone");
    let (mut disk, ..) = run.crash([Damage::Lost; 2]);
    let tail = recover(&mut disk, IDENTITY, &mut |_| Ok(())).unwrap();
    assert_eq!(tail.votes, [(ShardId(2), vote)].into());
}
