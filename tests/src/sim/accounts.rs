//! Accounts between which clients move money: each transfer that was acknowledged took place once,
//! each whose answer a crash took once or not at all.

use std::collections::BTreeSet;

use super::workload::ACCOUNTS;

type Balances = [i64; ACCOUNTS as usize];

/// Combinations of transfers without an answer that are looked at: with more nothing is said.
const COMBINATIONS_MAX: usize = 200_000;

#[derive(Default)]
pub struct Accounts {
    /// What acknowledged transfers leave.
    acknowledged: Balances,
    /// What each transfer without an answer adds.
    lost: Vec<Balances>,
    /// As last audited.
    audited: Option<Balances>,
}

impl Accounts {
    /// A transfer was acknowledged.
    pub fn transfer(&mut self, from: u64, to: u64, amount: u64) {
        add(&mut self.acknowledged, &change(from, to, amount));
    }

    /// A crash took a transfer's answer.
    pub fn lose(&mut self, from: u64, to: u64, amount: u64) {
        self.lost.push(change(from, to, amount));
    }

    /// All balances at one moment: money neither comes nor goes.
    pub fn audit(&mut self, balances: Vec<i64>) -> Result<(), String> {
        let balances: Balances = balances.try_into().map_err(|_| "not all accounts")?;
        let sum: i64 = balances.iter().sum();
        if sum != 0 {
            return Err(format!("money came or went: {sum}"));
        }
        self.audited = Some(balances);
        Ok(())
    }

    /// Nothing is under way since before the last audit.
    pub fn check(&self) -> Result<(), String> {
        let Some(audited) = self.audited else { return Err("never audited".into()) };
        let mut possible = BTreeSet::from([self.acknowledged]);
        for change in &self.lost {
            let with_it = possible.iter().map(|balances| {
                let mut balances = *balances;
                add(&mut balances, change);
                balances
            });
            possible = with_it.chain(possible.iter().copied()).collect();
            if possible.len() > COMBINATIONS_MAX {
                return Ok(());
            }
        }
        if !possible.contains(&audited) {
            return Err(format!(
                "transfers lost or doubled: {audited:?}, acknowledged {:?}, perhaps {:?}",
                self.acknowledged, self.lost
            ));
        }
        Ok(())
    }
}

fn change(from: u64, to: u64, amount: u64) -> Balances {
    let mut change = Balances::default();
    change[from as usize] -= amount as i64;
    change[to as usize] += amount as i64;
    change
}

fn add(balances: &mut Balances, change: &Balances) {
    balances.iter_mut().zip(change).for_each(|(balance, more)| *balance += more);
}
