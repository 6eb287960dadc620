//! Bounds of the writer itself; what it writes is tested with recovery.

use super::super::limits::TRANSACTION_BYTES_MAX;
use super::*;

fn writer() -> LogWriter {
    let identity = LogIdentity { cluster: 1, node: 1, core: 0 };
    let mut writer = LogWriter::new(identity, 64 << 20, Tail::default(), Incarnation(1));
    let Some(LogOperation::PrepareSegment { number, .. }) = writer.poll_operation() else {
        panic!("the first segment is asked for")
    };
    writer.on_segment_ready(number, Ok(())).expect("it is there");
    writer
}

fn append(writer: &mut LogWriter, index: u64, payload: &[u8]) {
    let (shard, term) = (ShardId(0), Term(1));
    let (index, decided) = (Index(index), Index(index - 1));
    let transaction = None;
    writer.append(EntryRef { shard, term, index, decided, transaction, payload });
}

#[test]
fn few_buffers_are_kept_however_many_waited() {
    let mut writer = writer();
    writer.set_writes_in_flight_max(3 * SPARE_BUFFERS_MAX);
    let payload = vec![b'x'; WRITE_BUFFER_BYTES];
    (1..=20).for_each(|index| append(&mut writer, index, &payload));
    let mut written = 0;
    loop {
        let mut under_way = Vec::new();
        while let Some(operation) = writer.poll_operation() {
            let LogOperation::Write { id, buffer, .. } = operation else { continue };
            under_way.push((id, buffer));
        }
        if under_way.is_empty() {
            break;
        }
        written += under_way.len();
        for (id, buffer) in under_way {
            writer.on_write_done(id, buffer, Ok(())).expect("it ends well");
        }
    }
    assert!(written > 20, "{written} buffers were in use");
    let kept = (writer.spare.len(), writer.spare_lasts.len());
    assert_eq!(kept, (SPARE_BUFFERS_MAX, SPARE_BUFFERS_MAX));
    assert_eq!((writer.queued_bytes(), writer.durable()), (0, writer.appended()));
    let written = (written * WRITE_BUFFER_BYTES) as u64;
    let (least, most) = (written - WRITE_BUFFER_BYTES as u64, written);
    assert!((least..=most).contains(&writer.written_bytes()), "{}", writer.written_bytes());
    assert_eq!(writer.payload_bytes(), 20 * WRITE_BUFFER_BYTES as u64);
}

/// The zeros of the next segment are spread over what this one still takes.
#[test]
fn the_next_segment_has_time_until_this_one_is_full() {
    let mut writer = writer();
    let payload = vec![b'x'; WRITE_BUFFER_BYTES / 2];
    let mut asked = Vec::new();
    for index in 1..=1100 {
        append(&mut writer, index, &payload);
        while let Some(operation) = writer.poll_operation() {
            match operation {
                LogOperation::Write { id, buffer, .. } => {
                    writer.on_write_done(id, buffer, Ok(())).expect("it ends well");
                }
                LogOperation::PrepareSegment { number, within_bytes, .. } => {
                    asked.push(within_bytes);
                    writer.on_segment_ready(number, Ok(())).expect("it is there");
                }
                LogOperation::RemoveSegment { .. } => {}
            }
        }
    }
    let segment = 64 << 20;
    assert!(asked.len() >= 2, "{asked:?}");
    for within_bytes in asked {
        let share = segment / 2 / 4 * 3;
        let about = share - 2 * WRITE_BUFFER_BYTES as u64..=share;
        assert!(about.contains(&within_bytes), "{within_bytes} bytes");
    }
}

/// Beside another one a write begins once it is worth one, and at once when nothing is under way.
#[test]
fn a_small_write_waits_for_more_as_long_as_another_is_under_way() {
    let mut writer = writer();
    let next = |writer: &mut LogWriter| loop {
        match writer.poll_operation() {
            Some(LogOperation::Write { id, buffer, .. }) => return Some((id, buffer)),
            Some(_) => {}
            None => return None,
        }
    };
    (1..=8).for_each(|index| append(&mut writer, index, b"one of eight"));
    let (first, buffer) = next(&mut writer).unwrap();
    for index in 9..=11 {
        append(&mut writer, index, b"one of eight");
        assert!(next(&mut writer).is_none(), "entry {index}");
    }
    append(&mut writer, 12, b"one of eight");
    let (second, later) = next(&mut writer).unwrap();
    append(&mut writer, 13, b"one of eight");
    assert!(next(&mut writer).is_none(), "two are under way");
    writer.on_write_done(first, buffer, Ok(())).unwrap();
    assert!(next(&mut writer).is_none(), "the second has four entries, this one has one");
    writer.on_write_done(second, later, Ok(())).unwrap();
    assert!(next(&mut writer).is_some());
}

#[test]
fn an_entry_as_long_as_recovery_takes_is_the_longest() {
    let mut writer = writer();
    assert_eq!(writer.payload_bytes_max, PAYLOAD_BYTES_MAX);
    writer.set_payload_bytes_max(TRANSACTION_BYTES_MAX);
    append(&mut writer, 1, &vec![b'x'; TRANSACTION_BYTES_MAX]);
}

#[test]
#[should_panic(expected = "of which the log takes")]
fn a_longer_one_ends_the_process_before_it_is_acknowledged() {
    let mut writer = writer();
    writer.set_payload_bytes_max(TRANSACTION_BYTES_MAX);
    append(&mut writer, 1, &vec![b'x'; TRANSACTION_BYTES_MAX + 1]);
}
