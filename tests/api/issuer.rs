//! A forge that issues tokens to its jobs: it serves its description and its key set over loopback, and signs real tokens.

use std::io::Write as _;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::OnceLock;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature;
use ring::signature::KeyPair as _;
use serde_json::Value;
use serde_json::json;
use tagalong::clock;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::sync::watch;

pub(crate) const COMMIT: &str = "1f0c9e2a7d4105b3c8e6f9012345678901234567";
pub(crate) const OTHER_COMMIT: &str = "9999999999999999999999999999999999999999";

/// A private key, and what its public part looks like in a key set.
#[derive(Clone)]
pub(crate) struct SigningKey {
    pub(crate) id: &'static str,
    made: Arc<Made>,
}

enum Made {
    Rsa {
        pair: signature::RsaKeyPair,
    },
    /// Too short for `ring`, so `openssl` signs with it.
    ShortRsa {
        pem: Vec<u8>,
        modulus: Vec<u8>,
    },
    P256 {
        pair: signature::EcdsaKeyPair,
    },
    Ed25519 {
        pair: signature::Ed25519KeyPair,
    },
}

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

#[allow(clippy::disallowed_methods, reason = "a test may start what it needs")]
fn openssl(args: &[&str], input: &[u8]) -> Vec<u8> {
    let mut command = std::process::Command::new("openssl");
    let mut child = command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let done = child.wait_with_output().unwrap();
    assert!(done.status.success(), "openssl {args:?}");
    done.stdout
}

/// A new RSA key in PKCS #8, as PEM.
fn rsa_pem(bits: &str) -> Vec<u8> {
    openssl(&["genpkey", "-algorithm", "RSA", "-pkeyopt", &format!("rsa_keygen_bits:{bits}")], b"")
}

impl SigningKey {
    /// An RSA key of 2048 bits.
    pub(crate) fn rsa(id: &'static str) -> Self {
        // Making one takes a second, so all of a process are the same.
        static DER: OnceLock<Vec<u8>> = OnceLock::new();
        let der = DER.get_or_init(|| {
            let pem = String::from_utf8(rsa_pem("2048")).unwrap();
            STANDARD.decode(pem.lines().filter(|line| !line.starts_with('-')).collect::<String>()).unwrap()
        });
        Self { id, made: Arc::new(Made::Rsa { pair: signature::RsaKeyPair::from_pkcs8(der).unwrap() }) }
    }

    /// An RSA key that is too short.
    pub(crate) fn short_rsa(id: &'static str) -> Self {
        let pem = rsa_pem("1024");
        let shown = openssl(&["rsa", "-modulus", "-noout"], &pem);
        let hex = String::from_utf8(shown).unwrap().trim().split_once('=').unwrap().1.to_owned();
        let modulus = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
        Self { id, made: Arc::new(Made::ShortRsa { pem, modulus }) }
    }

    pub(crate) fn p256(id: &'static str) -> Self {
        let (how, random) = (&signature::ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let pkcs8 = signature::EcdsaKeyPair::generate_pkcs8(how, &random).unwrap();
        let pair = signature::EcdsaKeyPair::from_pkcs8(how, pkcs8.as_ref(), &random).unwrap();
        Self { id, made: Arc::new(Made::P256 { pair }) }
    }

    pub(crate) fn ed25519(id: &'static str) -> Self {
        let pkcs8 = signature::Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self { id, made: Arc::new(Made::Ed25519 { pair: signature::Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap() }) }
    }

    pub(crate) fn algorithm(&self) -> &'static str {
        match &*self.made {
            Made::Rsa { .. } | Made::ShortRsa { .. } => "RS256",
            Made::P256 { .. } => "ES256",
            Made::Ed25519 { .. } => "EdDSA",
        }
    }

    pub(crate) fn jwk(&self) -> Value {
        let mut jwk = match &*self.made {
            Made::Rsa { pair } => {
                let public = ring::rsa::PublicKeyComponents::<Vec<u8>>::from(pair.public());
                json!({ "kty": "RSA", "n": b64(public.n), "e": b64(public.e) })
            }
            Made::ShortRsa { modulus, .. } => json!({ "kty": "RSA", "n": b64(modulus), "e": "AQAB" }),
            Made::P256 { pair } => {
                let point = pair.public_key().as_ref();
                json!({ "kty": "EC", "crv": "P-256", "x": b64(&point[1..33]), "y": b64(&point[33..]) })
            }
            Made::Ed25519 { pair } => json!({ "kty": "OKP", "crv": "Ed25519", "x": b64(pair.public_key()) }),
        };
        jwk["kid"] = self.id.into();
        jwk["use"] = "sig".into();
        jwk["alg"] = self.algorithm().into();
        jwk
    }

    /// The public key as a stranger has it: what HS256 is tried with.
    pub(crate) fn public_bytes(&self) -> Vec<u8> {
        match &*self.made {
            Made::Rsa { pair } => pair.public_key().as_ref().to_vec(),
            _ => self.jwk().to_string().into_bytes(),
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &*self.made {
            Made::Rsa { pair } => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&signature::RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap();
                signature
            }
            Made::ShortRsa { pem, .. } => {
                let file = tempfile::NamedTempFile::new().unwrap();
                std::fs::write(file.path(), pem).unwrap();
                openssl(&["dgst", "-sha256", "-sign", file.path().to_str().unwrap()], message)
            }
            Made::P256 { pair } => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Made::Ed25519 { pair } => pair.sign(message).as_ref().to_vec(),
        }
    }

    /// A token of these very texts.
    pub(crate) fn token_of(&self, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", b64(header), b64(claims));
        format!("{message}.{}", b64(self.sign(message.as_bytes())))
    }

    pub(crate) fn header(&self) -> Value {
        json!({ "typ": "JWT", "alg": self.algorithm(), "kid": self.id, "x5t": "eA" })
    }

    pub(crate) fn token(&self, claims: &Value) -> String {
        self.token_of(&self.header().to_string(), &claims.to_string())
    }
}

/// How the forge answers who asks for its keys.
#[derive(Clone)]
pub(crate) enum Manner {
    Well,
    /// Only when the test lets it.
    Held(watch::Receiver<bool>),
    /// For as long as anybody reads.
    Endlessly,
    Redirecting,
    Status(u16),
    /// With this in place of the key set.
    Text(String),
    /// With this in place of its description.
    Description(String),
}

/// A forge.
pub(crate) struct Issuer {
    pub(crate) url: String,
    pub(crate) key: SigningKey,
    shared: Arc<Shared>,
}

struct Shared {
    keys: Mutex<Vec<Value>>,
    manner: Mutex<Manner>,
    /// How often it was asked for its key set, and for its description.
    asked: AtomicUsize,
    asked_for_description: AtomicUsize,
}

impl Issuer {
    /// A Forgejo whose jobs' tokens are signed with RS256.
    pub(crate) async fn start() -> Self {
        Self::start_at("/api/actions", SigningKey::rsa("key-1")).await
    }

    pub(crate) async fn start_at(path: &str, key: SigningKey) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}{path}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            keys: Mutex::new(vec![key.jwk()]),
            manner: Mutex::new(Manner::Well),
            asked: AtomicUsize::new(0),
            asked_for_description: AtomicUsize::new(0),
        });
        let (server, base) = (Arc::clone(&shared), url.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, Arc::clone(&server), base.clone()));
            }
        });
        Self { url, key, shared }
    }

    /// One that speaks TLS, and the certificate that it shows (PEM), which nobody trusts by himself.
    pub(crate) async fn start_with_certificate() -> (Self, String) {
        let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_no_client_auth().with_single_cert(vec![certified.cert.der().clone()], key).unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let plain = Self::start().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}/api/actions", listener.local_addr().unwrap());
        let (server, base) = (Arc::clone(&plain.shared), url.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, server, base) = (acceptor.clone(), Arc::clone(&server), base.clone());
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        answer(stream, server, base).await;
                    }
                });
            }
        });
        (Self { url, ..plain }, certified.cert.pem())
    }

    pub(crate) fn behaves(&self, manner: Manner) {
        *self.shared.manner.lock().unwrap() = manner;
    }

    pub(crate) fn has(&self, keys: &[&SigningKey]) {
        *self.shared.keys.lock().unwrap() = keys.iter().map(|key| key.jwk()).collect();
    }

    /// How often it was asked for its key set.
    pub(crate) fn asked(&self) -> usize {
        self.shared.asked.load(Ordering::SeqCst)
    }

    /// How often it was asked for anything.
    pub(crate) fn called(&self) -> usize {
        self.asked() + self.shared.asked_for_description.load(Ordering::SeqCst)
    }

    /// The claims of a job that a push to main started, as forges write them.
    pub(crate) fn claims(&self) -> Value {
        let now_s = clock::now_ms() / 1000;
        json!({
            "jti": clock::new_id().to_string(),
            "iss": self.url,
            "aud": "https://tagalong.example.com",
            "sub": "repo:acme/web:ref:refs/heads/main",
            "exp": now_s + 300,
            "nbf": now_s - 5,
            "iat": now_s,
            "actor": "mona",
            "actor_id": "11",
            "base_ref": "",
            "event_name": "push",
            "head_ref": "",
            "ref": "refs/heads/main",
            "ref_protected": "true",
            "ref_type": "branch",
            "repository": "acme/web",
            "repository_id": "7001",
            "repository_owner": "acme",
            "repository_owner_id": "42",
            "run_attempt": "1",
            "run_id": "90001",
            "run_number": "17",
            "sha": COMMIT,
            "workflow": "deploy.yml",
            "workflow_ref": "acme/web/.forgejo/workflows/deploy.yml@refs/heads/main"
        })
    }

    pub(crate) fn claims_with(&self, name: &str, value: Value) -> Value {
        let mut claims = self.claims();
        claims[name] = value;
        claims
    }

    /// A right token, another one each time.
    pub(crate) fn token(&self) -> String {
        self.key.token(&self.claims())
    }

    /// The policy `web-main`, with these scopes.
    pub(crate) fn policy(&self, scopes: &[&str]) -> String {
        format!(
            "[[oidc]]\nid = \"web-main\"\nissuer = {:?}\naudience = \"https://tagalong.example.com\"\nscopes = {scopes:?}\nclaims = {{ \
             repository_id = \"7001\", repository_owner_id = \"42\", ref = \"refs/heads/main\", event_name = [\"push\", \
             \"workflow_dispatch\"] }}\n",
            self.url
        )
    }

    pub(crate) fn run_url(&self) -> String {
        format!("{}/acme/web/actions/runs/17", self.url.strip_suffix("/api/actions").unwrap())
    }
}

async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, shared: Arc<Shared>, base: String) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).await.unwrap_or(0) == 0 {
            return;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let is_description = head.contains("/.well-known/openid-configuration ");
    let count = if is_description { &shared.asked_for_description } else { &shared.asked };
    count.fetch_add(1, Ordering::SeqCst);
    let manner = shared.manner.lock().unwrap().clone();
    let mut text = if is_description {
        json!({ "issuer": base, "jwks_uri": format!("{base}/.well-known/keys"), "response_types_supported": ["id_token"] }).to_string()
    } else {
        json!({ "keys": *shared.keys.lock().unwrap() }).to_string()
    };
    let mut status = 200;
    match manner {
        Manner::Held(mut let_go) => drop(let_go.wait_for(|let_go| *let_go).await.map(|held| *held)),
        Manner::Endlessly => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{\"keys\":[").await;
            while stream.write_all(&[b' '; 4096]).await.is_ok() {}
            return;
        }
        Manner::Redirecting => {
            let to = format!("HTTP/1.1 302 Found\r\nlocation: {base}/elsewhere\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            let _ = stream.write_all(to.as_bytes()).await;
            return;
        }
        Manner::Status(other) => status = other,
        Manner::Text(other) if !is_description => text = other,
        Manner::Description(other) if is_description => text = other,
        Manner::Well | Manner::Text(_) | Manner::Description(_) => {}
    }
    let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}", text.len());
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}
