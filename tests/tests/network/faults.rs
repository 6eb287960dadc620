//! What is done to the nodes, their networks and their disks.

use std::io::Write;
use std::time::Duration;

use engine::rng::Rng;

use super::nodes::Nodes;
use super::{NODES, Shared};

/// A fault, for some time, in the nodes' networks or in one of them.
pub fn disturb(nodes: &mut Nodes, shared: &Shared, rng: &mut Rng) -> &'static str {
    let any = rng.below(NODES as u64) as usize;
    let leader = nodes.leader().unwrap_or(any);
    let place = if rng.below(3) == 0 { any } else { leader };
    let (node, other) = (place + 1, (place + 1 + rng.below(2) as usize) % NODES + 1);
    let time = Duration::from_millis(100 + rng.below(1_900));
    let network = &mut nodes.network;
    let what = match rng.below(9) {
        0 => network.isolate(node, true, true).map(|()| "cut off"),
        1 => network.isolate(node, true, false).map(|()| "not heard"),
        2 => network.isolate(node, false, true).map(|()| "deaf"),
        3 => {
            network.cut(node, other).and_then(|()| network.cut(other, node)).map(|()| "one cut off")
        }
        4 => (1..=NODES).try_for_each(|node| network.slow_down(node)).map(|()| "all slow"),
        5 => {
            for _ in 0..8 {
                network.isolate(node, true, true).unwrap();
                std::thread::sleep(Duration::from_millis(10 + rng.below(150)));
                network.heal().unwrap();
                std::thread::sleep(Duration::from_millis(rng.below(100)));
            }
            Ok("on and off")
        }
        6 => {
            nodes.signal(place, libc::SIGSTOP);
            std::thread::sleep(time);
            nodes.signal(place, libc::SIGCONT);
            return "stood still";
        }
        7 => {
            nodes.servers[place].take().unwrap().kill().unwrap();
            nodes.publish(shared);
            // Soon enough for a lease to hold that it has helped to.
            std::thread::sleep(if rng.below(2) == 0 { Duration::ZERO } else { time });
            nodes.start_node(place);
            nodes.publish(shared);
            return "killed";
        }
        _ => {
            let ballast = nodes.folders[place].join("ballast");
            let mut file = std::fs::File::create(&ballast).unwrap();
            while file.write_all(&[b'x'; 64 << 10]).is_ok() {}
            std::thread::sleep(time);
            std::fs::remove_file(&ballast).unwrap();
            return "disk full";
        }
    };
    std::thread::sleep(time);
    // A node that is killed or stands still while it is cut off.
    if rng.below(4) == 0 {
        nodes.signal(place, libc::SIGSTOP);
        std::thread::sleep(Duration::from_millis(rng.below(600)));
        nodes.network.heal().unwrap();
        nodes.signal(place, libc::SIGCONT);
    }
    nodes.network.heal().unwrap();
    what.unwrap()
}
