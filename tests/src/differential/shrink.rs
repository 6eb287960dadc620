//! Fewer steps that still differ: chunks are left out, half of the list first, then smaller ones,
//! then single commands of the steps that are several.

use anyhow::Result;

use super::run::{Counts, Difference, run};
use super::servers::Servers;
use super::step::{Step, name};

/// Runs of one shrinking; what is found by then is good enough.
const RUNS_MAX: usize = 600;
/// Runs in which a difference must be seen again.
const REPEATS_MAX: usize = 8;

pub fn shrink(
    servers: &mut Servers,
    steps: &[Step],
    resp3: bool,
    difference: Difference,
) -> Result<(Vec<Step>, Difference)> {
    let end = (difference.step + 1).min(steps.len());
    let mut best = (steps[..end].to_vec(), difference);
    if !happens_again(servers, &mut best, resp3)? {
        return Ok(best);
    }
    let mut runs = 0;
    let mut chunk = (best.0.len() / 2).max(1);
    loop {
        let before = best.0.len();
        let mut at = 0;
        while at < best.0.len() && runs < RUNS_MAX {
            let mut fewer = best.0.clone();
            fewer.drain(at..(at + chunk).min(best.0.len()));
            runs += 1;
            match run(servers, &fewer, resp3, &mut Counts::default())? {
                Some(found) => {
                    fewer.truncate(found.step + 1);
                    best = (fewer, found);
                }
                None => at += chunk,
            }
        }
        if chunk == 1 && (best.0.len() == before || runs >= RUNS_MAX) {
            break;
        }
        chunk = (chunk / 2).max(1);
    }
    drop_commands(servers, &mut best, resp3)?;
    Ok(best)
}

/// Whether the difference is there in another run too; one that depends on timing need not be.
fn happens_again(
    servers: &mut Servers,
    best: &mut (Vec<Step>, Difference),
    resp3: bool,
) -> Result<bool> {
    for _ in 0..REPEATS_MAX {
        if let Some(found) = run(servers, &best.0, resp3, &mut Counts::default())? {
            best.0.truncate(found.step + 1);
            best.1 = found;
            return Ok(true);
        }
    }
    best.1.happens_again = false;
    Ok(false)
}

/// Leaves out commands inside of transactions, but not what begins and ends one.
fn drop_commands(
    servers: &mut Servers,
    best: &mut (Vec<Step>, Difference),
    resp3: bool,
) -> Result<()> {
    let mut step = 0;
    while step < best.0.len() {
        // Other steps stay whole: a random command needs the question before it.
        if !best.0[step].commands.iter().any(|words| name(words) == "multi") {
            step += 1;
            continue;
        }
        let mut at = 0;
        while best.0.get(step).is_some_and(|step| at < step.commands.len()) {
            let commands = &best.0[step].commands;
            let kept = matches!(name(&commands[at]).as_str(), "multi" | "exec" | "discard");
            let mut fewer = best.0.clone();
            fewer[step].commands.remove(at);
            if !kept
                && commands.len() > 1
                && let Some(found) = run(servers, &fewer, resp3, &mut Counts::default())?
            {
                fewer.truncate(found.step + 1);
                *best = (fewer, found);
            } else {
                at += 1;
            }
        }
        step += 1;
    }
    Ok(())
}
