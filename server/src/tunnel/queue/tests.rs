use super::*;

fn command(words: &str) -> Vec<u8> {
    let mut out = Vec::new();
    write_command(&mut out, words.split(' ').map(str::as_bytes).collect::<Vec<_>>().into_iter());
    out
}

fn push(queue: &mut Queue, words: &str, passed: Passed) {
    queue.push(passed, None, |text| text.extend_from_slice(&command(words)));
}

fn push_exec(queue: &mut Queue, commands: &[&str]) {
    let commands: Vec<OwnedArgs> = commands
        .iter()
        .map(|words| OwnedArgs::from_words(words.split(' ').map(str::as_bytes)))
        .collect();
    let passed = Passed { kind: Kind::Exec, hidden: 1 + commands.len(), ..Passed::default() };
    queue.push(passed, None, |text| write_transaction(text, &commands));
}

/// Whole replies come; what the client gets of them.
fn answer(queue: &mut Queue, replies: &[&str]) -> String {
    let mut out = Vec::new();
    for reply in replies {
        assert!(queue.on_piece(reply.as_bytes(), &mut out));
        queue.on_reply_end(reply.starts_with('*'), &mut out);
    }
    String::from_utf8(out).unwrap()
}

#[test]
fn replies_made_here_keep_their_place() {
    let mut queue = Queue::default();
    push(&mut queue, "SET a 1", Passed::default());
    queue.push_said(b"+PONG\r\n".to_vec());
    push(&mut queue, "GET a", Passed { silent: true, ..Passed::default() });
    queue.push_said(b"+again\r\n".to_vec());
    push_exec(&mut queue, &["SET b 1", "GET b"]);
    let sent = queue.take_unsent(usize::MAX);
    let all = ["SET a 1", "GET a", "MULTI", "SET b 1", "GET b", "EXEC"].map(command).concat();
    assert_eq!(sent, all);
    assert_eq!(answer(&mut queue, &["+OK\r\n"]), "+OK\r\n+PONG\r\n");
    assert_eq!(answer(&mut queue, &["$1\r\n1\r\n"]), "+again\r\n");
    let hidden = ["+OK\r\n", "+QUEUED\r\n", "+QUEUED\r\n"];
    assert_eq!(answer(&mut queue, &hidden), "");
    assert_eq!(answer(&mut queue, &["*1\r\n+OK\r\n"]), "*1\r\n+OK\r\n");
    assert!(queue.is_empty() && !queue.is_under_way() && queue.bytes() == 0);
    assert!(!queue.on_piece(b"+OK\r\n", &mut Vec::new()), "nobody has asked");
}

#[test]
fn what_is_not_answered_is_sent_again_from_its_start() {
    let mut queue = Queue::default();
    queue.push(Passed::default(), Some(b"one;"), |text| text.extend_from_slice(b"a;"));
    push(&mut queue, "SET a 1", Passed::default());
    queue.push(Passed::default(), Some(b"two;"), |text| text.extend_from_slice(b"b;"));
    assert_eq!(queue.take_unsent(10), b"one;a;*3\r\n");
    assert!(queue.is_under_way() && !queue.is_sent());
    assert_eq!(answer(&mut queue, &["+OK\r\n"]), "+OK\r\n");
    assert!(!queue.rewind() && !queue.is_under_way());
    assert_eq!(queue.session(), b"one;");
    let rest = [&command("SET a 1")[..], b"two;b;"].concat();
    assert_eq!(queue.take_unsent(usize::MAX), rest);
    assert_eq!(answer(&mut queue, &["+OK\r\n", "+OK\r\n"]), "+OK\r\n+OK\r\n");
    assert_eq!(queue.session(), b"two;");
}

#[test]
fn only_reads_of_which_nothing_was_told_may_be_repeated() {
    let read = || Passed { harmless: true, ..Passed::default() };
    let mut queue = Queue::default();
    push(&mut queue, "GET a", read());
    queue.take_unsent(usize::MAX);
    push(&mut queue, "SET a 1", Passed::default());
    assert!(queue.may_repeat(), "the write was not sent");
    queue.take_unsent(1);
    assert!(!queue.may_repeat());
    let mut queue = Queue::default();
    push(&mut queue, "GET a", read());
    queue.take_unsent(usize::MAX);
    queue.on_piece(b"$2\r\n", &mut Vec::new());
    assert!(!queue.may_repeat(), "the client has a part of it");
    let mut queue = Queue::default();
    assert!(!queue.is_asked());
    push(&mut queue, "SUBSCRIBE a b", read());
    assert!(!queue.is_asked(), "it was not sent");
    queue.take_unsent(usize::MAX);
    assert!(queue.is_asked() && queue.may_repeat());
    queue.note_begun();
    assert!(!queue.may_repeat(), "the client has a confirmation of it");
    queue.on_reply_end(false, &mut Vec::new());
    push(&mut queue, "GET a", read());
    queue.take_unsent(usize::MAX);
    assert!(queue.may_repeat());
}

#[test]
fn an_exec_that_rests_on_lost_watches_is_refused() {
    let mut queue = Queue::default();
    push(&mut queue, "WATCH k", Passed { kind: Kind::Watch, ..Passed::default() });
    queue.take_unsent(usize::MAX);
    assert_eq!(answer(&mut queue, &["+OK\r\n"]), "+OK\r\n");
    assert!(queue.watches());
    push(&mut queue, "GET k", Passed::default());
    push_exec(&mut queue, &["SET k 1"]);
    push(&mut queue, "SET after 1", Passed::default());
    queue.take_unsent(usize::MAX);
    assert!(!queue.rewind(), "it is here");
    let text = ["GET k", "UNWATCH", "SET after 1"].map(command).concat();
    assert_eq!(queue.take_unsent(usize::MAX), text);
    let replies = ["$1\r\n1\r\n", "+OK\r\n", "+OK\r\n"];
    assert_eq!(answer(&mut queue, &replies), "$1\r\n1\r\n*-1\r\n+OK\r\n");

    push(&mut queue, "WATCH k", Passed { kind: Kind::Watch, ..Passed::default() });
    queue.take_unsent(usize::MAX);
    answer(&mut queue, &["+OK\r\n"]);
    assert!(queue.rewind() && !queue.watches(), "the EXEC is still to come");

    let mut queue = Queue::default();
    push(&mut queue, "WATCH k", Passed { kind: Kind::Watch, ..Passed::default() });
    push_exec(&mut queue, &["SET k 1"]);
    queue.take_unsent(usize::MAX);
    assert!(!queue.rewind(), "it will be watched anew");
    assert_eq!(queue.bytes(), ["WATCH k", "MULTI", "SET k 1", "EXEC"].map(command).concat().len());
}

#[test]
fn without_a_primary_each_gets_its_error() {
    let mut queue = Queue::default();
    push(&mut queue, "SET a 1", Passed::default());
    queue.push_said(b"+PONG\r\n".to_vec());
    push(&mut queue, "SET b 1", Passed { silent: true, ..Passed::default() });
    push_exec(&mut queue, &["SET k 1"]);
    let mut out = Vec::new();
    queue.refuse_all("DOWN", &mut out);
    assert_eq!(out, b"-DOWN\r\n+PONG\r\n-DOWN\r\n");
    assert!(queue.is_empty() && queue.bytes() == 0);
}

/// A long transaction does not go out at once: the primary answers its first commands meanwhile.
#[test]
fn a_transaction_is_answered_while_it_is_sent() {
    let mut queue = Queue::default();
    push_exec(&mut queue, &["SET b 1"]);
    assert_eq!(queue.take_unsent(command("MULTI").len()), command("MULTI"));
    assert_eq!(answer(&mut queue, &["+OK\r\n"]), "");
    queue.take_unsent(command("SET b 1").len());
    assert_eq!(answer(&mut queue, &["+QUEUED\r\n"]), "");
    assert!(!queue.on_piece(b"*1\r\n", &mut Vec::new()), "EXEC was not sent");
    assert_eq!(queue.take_unsent(usize::MAX), command("EXEC"));
    assert_eq!(answer(&mut queue, &["*1\r\n+OK\r\n"]), "*1\r\n+OK\r\n");
    assert!(queue.is_empty());
}
