//! `basic_auth_users`: checks passwords against bcrypt.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use bcrypt::HashParts;
use data_encoding::BASE64;
use ring::hmac;
use tokio::{sync::Semaphore, task::spawn_blocking};

use super::{Wrong, document::Secret};

const KEY: &str = "basic_auth_users";

/// A hash with a higher cost takes seconds, and every wrong password costs one.
const MAX_COST: u32 = 18;

/// Maximum number of valid passwords that need no second hash: one per user, or two if one is sent
/// in another encoding.
const MAX_KNOWN: usize = 64;

/// The longest user name with its password, in base64 as sent.
const MAX_SENT: usize = 1024;

/// The users.
#[derive(Debug)]
pub(super) struct Users {
    hashes: BTreeMap<String, Secret>,
    /// Digests of the valid headers, which cannot be reversed.
    known: Mutex<HashSet<[u8; 32]>>,
    key: hmac::Key,
    /// One hash at a time, because each occupies a processor.
    turn: Arc<Semaphore>,
}

impl Users {
    /// The users; `None`: the list is empty, and no password is needed.
    ///
    /// # Errors
    ///
    /// A hash is not a bcrypt hash, or its cost is too high.
    pub fn new(hashes: BTreeMap<String, Secret>) -> Result<Option<Self>, Wrong> {
        for (name, hash) in &hashes {
            check(name, &hash.0).map_err(|why| Wrong::new(KEY, why))?;
        }
        if hashes.is_empty() {
            return Ok(None);
        }
        let random = ring::rand::SystemRandom::new();
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &random)
            .map_err(|_| Wrong::new(KEY, "the kernel has no random numbers"))?;
        Ok(Some(Self {
            hashes,
            known: Mutex::default(),
            key,
            turn: Arc::new(Semaphore::new(1)),
        }))
    }

    /// Whether this header has a user and the right password.
    pub async fn admits(&self, authorization: Option<&[u8]>) -> bool {
        let Some((name, password)) = authorization.and_then(credentials) else {
            return false;
        };
        let listed = self.hashes.get(&name);
        // An unknown name takes as long as a known one.
        let Some(hash) = listed.or_else(|| self.hashes.values().next()).cloned() else {
            return false;
        };
        let mark = self.mark(&name, &password);
        if listed.is_some() && self.known().contains(&mark) {
            return true;
        }
        let Ok(turn) = Arc::clone(&self.turn).acquire_owned().await else {
            return false;
        };
        // A hash that has begun runs to its end, and keeps its turn that long.
        let right = spawn_blocking(move || {
            let _turn = turn;
            bcrypt::verify(&password, &hash.0).unwrap_or(false)
        });
        let right = right.await.unwrap_or(false) && listed.is_some();
        if right {
            let mut known = self.known();
            if known.len() >= MAX_KNOWN {
                known.clear();
            }
            known.insert(mark);
        }
        right
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashSet<[u8; 32]>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn mark(&self, name: &str, password: &[u8]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&(name.len() as u64).to_le_bytes());
        context.update(name.as_bytes());
        context.update(password);
        let mut mark = [0; 32];
        mark.copy_from_slice(context.sign().as_ref());
        mark
    }
}

fn check(name: &str, hash: &str) -> Result<(), String> {
    let parts: HashParts = hash.parse().map_err(|error| {
        format!("the hash of user {name:?} is not a bcrypt hash ({error}): make one with `htpasswd -nBC 10 {name}`")
    })?;
    let cost = parts.get_cost();
    if cost > MAX_COST {
        return Err(format!(
            "the hash of user {name:?} has cost {cost}, and takes longer than a request may: at most {MAX_COST}"
        ));
    }
    if name.contains(':') {
        return Err(format!("the name {name:?} has a colon, which ends a name"));
    }
    Ok(())
}

/// Name and password of an `Authorization: Basic` header.
pub(super) fn credentials(header: &[u8]) -> Option<(String, Vec<u8>)> {
    const SCHEME: &[u8] = b"Basic ";
    let (scheme, sent) = header.split_at_checked(SCHEME.len())?;
    if !scheme.eq_ignore_ascii_case(SCHEME) || sent.len() > MAX_SENT {
        return None;
    }
    let pair = BASE64.decode(sent).ok()?;
    let colon = pair.iter().position(|&byte| byte == b':')?;
    let name = String::from_utf8(pair[..colon].to_vec()).ok()?;
    Some((name, pair[colon + 1..].to_vec()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use data_encoding::BASE64;

    use super::{Secret, Users, credentials};

    /// A text that looks like a bcrypt hash but is not one.
    const HASH: &str = "$2y$04$HASH";

    fn users() -> Users {
        let hash = bcrypt::hash("secret", 4).unwrap();
        let users = BTreeMap::from([("alice".to_owned(), Secret(hash))]);
        Users::new(users).unwrap().unwrap()
    }

    fn header(pair: &str) -> Vec<u8> {
        format!("Basic {}", BASE64.encode(pair.as_bytes())).into_bytes()
    }

    #[tokio::test]
    async fn only_a_listed_user_with_his_password_gets_in() {
        let users = users();
        assert!(!users.admits(None).await);
        for _ in 0..2 {
            assert!(users.admits(Some(&header("alice:secret"))).await);
            for wrong in [
                "alice:Secret",
                "alice:",
                "bob:secret",
                ":secret",
                "alice",
                "alice:secret:",
                "alices:ecret",
            ] {
                assert!(!users.admits(Some(&header(wrong))).await, "{wrong}");
            }
        }
        assert_eq!(users.known().len(), 1);
    }

    #[tokio::test]
    async fn an_invalid_basic_authorization_is_refused() {
        let users = users();
        for wrong in [
            "",
            "Basic",
            "Basic ",
            "Bearer YWxpY2U6c2VjcmV0",
            "Basic !!!!",
            "Basic YWxpY2U6c2VjcmV",
        ] {
            assert!(!users.admits(Some(wrong.as_bytes())).await, "{wrong}");
        }
        let long = header(&format!("alice:{}", "x".repeat(2000)));
        assert!(!users.admits(Some(&long)).await);
    }

    #[test]
    fn the_scheme_may_be_written_in_any_case_and_a_password_may_have_colons() {
        let sent = BASE64.encode(b"a:b:c");
        let header = format!("bAsIc {sent}");
        let right = Some(("a".to_owned(), b"b:c".to_vec()));
        assert_eq!(credentials(header.as_bytes()), right);
    }

    #[test]
    fn an_invalid_or_expensive_hash_is_refused_without_being_printed() {
        for bad in [
            "",
            "secret",
            HASH,
            "$2y$19$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi",
        ] {
            let users = BTreeMap::from([("alice".to_owned(), Secret(bad.to_owned()))]);
            let error = Users::new(users).unwrap_err();
            assert!(error.why.contains("alice"), "{}", error.why);
            assert!(bad.is_empty() || !error.why.contains(bad), "{}", error.why);
        }
    }
}
