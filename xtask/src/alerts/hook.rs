//! The webhook that receives Alertmanager's messages.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Instant,
};

use anyhow::{Context as _, Result, anyhow};
use serde::Deserialize;
use tiny_http::{Response, Server};

pub type Labels = BTreeMap<String, String>;

/// One alert of a message.
#[derive(Clone, Debug)]
pub struct Message {
    pub at: Instant,
    /// The path of the request: `/page`, `/ticket`.
    pub path: String,
    pub firing: bool,
    pub labels: Labels,
    pub annotations: Labels,
}

/// Keeps all messages.
pub struct Hook {
    port: u16,
    messages: Arc<Mutex<Vec<Message>>>,
}

#[derive(Deserialize)]
struct Body {
    alerts: Vec<Alert>,
}

#[derive(Deserialize)]
struct Alert {
    status: String,
    labels: Labels,
    annotations: Labels,
}

impl Hook {
    pub fn listen() -> Result<Self> {
        let server =
            Server::http("127.0.0.1:0").map_err(|error| anyhow!("the webhook: {error}"))?;
        let address = server.server_addr().to_ip();
        let port = address.context("the webhook has no port")?.port();
        let messages: Arc<Mutex<Vec<Message>>> = Arc::default();
        let kept = Arc::clone(&messages);
        thread::spawn(move || {
            for mut request in server.incoming_requests() {
                let path = request.url().to_owned();
                let parsed = serde_json::from_reader::<_, Body>(request.as_reader());
                let alerts = parsed.map(|body| body.alerts).unwrap_or_default();
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend(alerts.into_iter().map(|alert| Message {
                    at: Instant::now(),
                    path: path.clone(),
                    firing: alert.status == "firing",
                    labels: alert.labels,
                    annotations: alert.annotations,
                }));
                drop(kept);
                let _ = request.respond(Response::empty(200));
            }
        });
        Ok(Self { port, messages })
    }

    pub const fn port(&self) -> u16 {
        self.port
    }

    pub fn messages(&self) -> Vec<Message> {
        let kept = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        kept.clone()
    }
}
