//! `--join`: whom a machine asks that has no cluster yet.

use super::cluster::id_of_token;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// From the token that the nodes share.
    pub cluster: u128,
    /// Ports for nodes of those that may know: HOST:PORT.
    pub named: Vec<String>,
    /// The name by which others reach this one.
    pub advertise: Option<String>,
}

impl Join {
    pub fn parse(
        token: Option<&str>,
        named: Option<&str>,
        advertise: Option<String>,
    ) -> Result<Option<Join>, String> {
        let Some(named) = named else { return Ok(None) };
        let token = token.ok_or("join needs --cluster-token, the secret that the nodes share")?;
        let named: Vec<String> = named.split(',').map(|name| name.trim().to_owned()).collect();
        let is_wrong = |name: &&String| {
            let port = name.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
            port.is_none_or(|port| port.is_err())
        };
        if let Some(wrong) = named.iter().find(is_wrong) {
            return Err(format!("join has '{wrong}', which is not of the form HOST:PORT"));
        }
        Ok(Some(Join { cluster: id_of_token(token)?, named, advertise }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_and_ports_are_needed() {
        let parse = |token, named| Join::parse(token, Some(named), None);
        let join = parse(Some("a secret"), "a:1, b:2").unwrap().unwrap();
        assert_eq!(join.named, ["a:1", "b:2"]);
        assert!(parse(None, "a:1").unwrap_err().contains("--cluster-token"));
        assert!(parse(Some("a secret"), "a").unwrap_err().contains("HOST:PORT"));
        assert!(parse(Some("short"), "a:1").is_err());
        assert_eq!(Join::parse(Some("a secret"), None, None), Ok(None));
    }
}
