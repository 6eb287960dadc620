//! What `quoring-ctl status` says of a node of a cluster: whom it follows, and how the others are.

use std::collections::HashMap;

type Fields = HashMap<String, String>;

/// How a node stands among the others.
pub struct Standing {
    pub lines: Vec<(&'static str, String)>,
    /// A leader is known, and if it is this node, a majority is linked with it.
    pub is_well: bool,
}

/// `None` for a node without others.
pub fn standing(info: &Fields) -> Option<Standing> {
    let field = |name: &str| info.get(name).map(String::as_str);
    let (own, leader) = (field("quoring_node")?, field("quoring_leader")?);
    let peers: Vec<Fields> = (0..)
        .map_while(|place| info.get(&format!("quoring_peer{place}")))
        .map(|line| parts(line))
        .collect();
    let linked = peers.iter().filter(|peer| is_linked(peer)).count();
    let leads = own == leader;
    let has_majority = (linked + 1) * 2 > peers.len() + 1;
    let role = match leader {
        "0" => "KNOWS OF NO LEADER".to_owned(),
        _ if leads && !has_majority => "leads, BUT HAS NO MAJORITY: writes wait".to_owned(),
        _ if leads => "leads".to_owned(),
        leader => format!("follows node {leader}"),
    };
    let mut lines = vec![("node", format!("{own}, {role}"))];
    lines.extend(peers.iter().map(|peer| ("other node", of_peer(peer))));
    if let Some((version, applied)) =
        field("quoring_cluster_version").zip(field("quoring_applied_versions"))
    {
        lines.push(("cluster version", format!("{version}; this program applies {applied}")));
    }
    Some(Standing { lines, is_well: leader != "0" && (!leads || has_majority) })
}

fn is_linked(peer: &Fields) -> bool {
    peer.get("link").is_some_and(|link| link == "up")
}

fn of_peer(peer: &Fields) -> String {
    let node = peer.get("node").map_or("?", String::as_str);
    let link = if is_linked(peer) { "linked" } else { "NOT LINKED" };
    let behind = peer.get("behind").map(|count| format!(", {count} entries behind"));
    let gets = peer.get("catch_up").filter(|way| *way != "none");
    let gets = gets.map(|way| format!(", gets what it lacks from {way}"));
    format!("{node}, {link}{}{}", behind.unwrap_or_default(), gets.unwrap_or_default())
}

/// `a=1,b=2`.
fn parts(line: &str) -> Fields {
    let parts = line.split(',').filter_map(|part| part.split_once('='));
    parts.map(|(name, value)| (name.into(), value.into())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(leader: &str, links: [&str; 2]) -> Standing {
        let peer = |node: u64, link: &str| {
            format!("node={node},link={link},applies=1-2,matched=5,behind=3,catch_up=log")
        };
        let fields = [
            ("quoring_node", "1".to_owned()),
            ("quoring_leader", leader.to_owned()),
            ("quoring_peer0", peer(2, links[0])),
            ("quoring_peer1", peer(3, links[1])),
            ("quoring_cluster_version", "2".to_owned()),
            ("quoring_applied_versions", "1-2".to_owned()),
        ];
        let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        standing(&fields).unwrap()
    }

    #[test]
    fn a_node_is_well_with_a_leader_that_has_a_majority() {
        assert!(standing(&Fields::new()).is_none(), "a node alone");
        let leading = seen("1", ["up", "down"]);
        assert!(leading.is_well);
        assert_eq!(leading.lines[0].1, "1, leads");
        assert_eq!(leading.lines[1].1, "2, linked, 3 entries behind, gets what it lacks from log");
        assert!(leading.lines[2].1.starts_with("3, NOT LINKED"));
        assert!(!seen("1", ["down", "down"]).is_well);
        assert!(seen("2", ["up", "down"]).is_well);
        assert_eq!(seen("2", ["up", "up"]).lines[0].1, "1, follows node 2");
        assert!(!seen("0", ["up", "up"]).is_well);
    }
}
