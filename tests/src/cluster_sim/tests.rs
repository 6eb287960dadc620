use super::plan::Plan;
use super::world::run;

pub fn plan(seed: u64, nodes: u64) -> Plan {
    Plan { seed, nodes, clients: 4, operations: 250 }
}

#[test]
fn nothing_acknowledged_is_lost_and_reads_are_of_their_time() {
    for seed in 0..40 {
        let plan = plan(seed, if seed % 4 == 0 { 5 } else { 3 });
        if let Err(violation) = run(plan) {
            panic!("{plan:?}: {violation}");
        }
    }
}
