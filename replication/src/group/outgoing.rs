//! What a group has to say, before it goes out.

use raft::eraftpb::{Message, MessageType};

use crate::buggify::{Point, is_taken};

/// Leaves out what a later message of the same round says as well: that more is committed.
///
/// The crate can join such messages itself (`batch_append`), and must not: it puts entries into an
/// earlier message without entries whatever index that one has. A follower that had asked for
/// entries again would take them for those behind that index, and confirm more than it has.
pub fn without_superseded(messages: Vec<Message>) -> Vec<Message> {
    if messages.len() < 2 {
        return on_rare_ways(messages);
    }
    let is_append = |message: &Message| message.get_msg_type() == MessageType::MsgAppend;
    let superseded: Vec<bool> = (0..messages.len())
        .map(|place| {
            let (own, later) = (&messages[place], &messages[place + 1..]);
            let again = |other: &Message| {
                is_append(other)
                    && (other.to, other.term) == (own.to, own.term)
                    && other.commit >= own.commit
            };
            is_append(own) && own.entries.is_empty() && later.iter().any(again)
        })
        .collect();
    let kept = messages.into_iter().zip(superseded).filter(|(_, superseded)| !superseded);
    on_rare_ways(kept.map(|(message, _)| message).collect())
}

/// Messages are lost, come twice or in another order, where that is asked for. One with a
/// checkpoint is awaited until it is told to have arrived or not.
fn on_rare_ways(mut messages: Vec<Message>) -> Vec<Message> {
    let is_checkpoint = |message: &Message| message.get_msg_type() == MessageType::MsgSnapshot;
    messages.retain(|message| is_checkpoint(message) || !is_taken(Point::MessageLost));
    if is_taken(Point::MessageTwice) {
        let again = messages.iter().find(|message| !is_checkpoint(message)).cloned();
        messages.extend(again);
    }
    if is_taken(Point::MessagesTurned) {
        messages.reverse();
    }
    messages
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(to: u64, index: u64, count: usize, commit: u64) -> Message {
        let mut message = Message { to, term: 1, index, commit, ..Message::default() };
        message.set_msg_type(MessageType::MsgAppend);
        message.set_entries(vec![Default::default(); count].into());
        message
    }

    #[test]
    fn only_what_is_said_again_is_left_out() {
        let mut vote = append(2, 5, 0, 4);
        vote.set_msg_type(MessageType::MsgRequestVote);
        let all = vec![
            append(2, 5, 0, 4),
            append(3, 5, 0, 4),
            vote,
            append(2, 3, 2, 4),
            append(2, 5, 0, 5),
            append(3, 5, 1, 3),
        ];
        let kept = without_superseded(all.clone());
        assert_eq!(kept, all[1..], "the first one alone");
        let twice = [append(2, 5, 1, 4), append(2, 6, 0, 5), append(2, 6, 0, 6)];
        assert_eq!(without_superseded(twice.to_vec()), [twice[0].clone(), twice[2].clone()]);
    }
}
