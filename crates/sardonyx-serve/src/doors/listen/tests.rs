//! Connections as clients make them, well and ill, over real sockets.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

use super::super::watch::Reload;
use super::*;

/// Answers with the body's length, or with its error; `/wait` waits for a permit first.
#[derive(Default)]
struct Echo {
    limits: Limits,
    permit: Notify,
    left: AtomicUsize,
}

struct Leaving<'a>(&'a AtomicUsize, bool);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(usize::from(!self.1), Ordering::SeqCst);
    }
}

impl Handler for Echo {
    async fn handle(
        self: Arc<Self>,
        request: Request<Incoming>,
        peer: Arc<Peer>,
    ) -> Response<Body> {
        let mut leaving = Leaving(&self.left, false);
        if request.uri().path() == "/wait" {
            self.permit.notified().await;
        }
        leaving.1 = true;
        if request.uri().path() == "/who" {
            let shown = peer.certificate.as_ref().map_or(0, |shown| shown.len());
            return Response::new(Body::new(format!("certificate {shown}")));
        }
        let (head, body) = request.into_parts();
        let encoding = head.headers.get("content-encoding");
        let encoding = encoding.and_then(|value| value.to_str().ok());
        match Received::read(body, encoding, &self.limits).await {
            Ok(received) => Response::new(Body::new(format!("length {}", received.bytes.len()))),
            Err(error) => {
                let mut response = Response::new(Body::new(error.error.message));
                *response.status_mut() = error.status;
                response
            }
        }
    }
}

struct Server {
    address: SocketAddr,
    echo: Arc<Echo>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Server {
    async fn start(limits: Limits, tls: Option<Arc<Tls>>) -> Server {
        let any = "127.0.0.1:0".parse().expect("an address");
        let listener = Listener::bind(any, limits.clone(), tls)
            .await
            .expect("a port");
        let address = listener.address();
        let echo = Arc::new(Echo {
            limits,
            ..Echo::default()
        });
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(listener.run(Arc::clone(&echo), stopped));
        Server {
            address,
            echo,
            stop,
            task,
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("connects")
    }

    /// Sends `request` on a connection of its own and reads until the server closes it.
    async fn ask(&self, request: &[u8]) -> String {
        let mut socket = self.connect().await;
        socket.write_all(request).await.expect("sent");
        rest(&mut socket).await
    }
}

async fn rest(socket: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut bytes = Vec::new();
    let read = timeout(Duration::from_secs(20), socket.read_to_end(&mut bytes)).await;
    // A server that closes on unread bytes resets the connection: what came before counts.
    let _ = read.expect("the server closes the connection");
    String::from_utf8_lossy(&bytes).into_owned()
}

fn post(path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: {length}\r\n\
         {headers}\r\n"
    );
    [head.as_bytes(), body].concat()
}

fn quick() -> Limits {
    Limits {
        header_timeout: Duration::from_millis(200),
        body_timeout: Duration::from_millis(200),
        idle_timeout: Duration::from_millis(400),
        ..Limits::new(1000, 1500)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_read_whole_and_unpacked() {
    let server = Server::start(Limits::default(), None).await;
    assert!(
        server
            .ask(&post("/", "", b"12345"))
            .await
            .ends_with("length 5")
    );
    let large = vec![b'x'; 3_000_000];
    assert!(
        server
            .ask(&post("/", "", &large))
            .await
            .ends_with("length 3000000")
    );
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, &large).expect("packed");
    let gzip = gzip.finish().expect("packed");
    let reply = server
        .ask(&post("/", "content-encoding: gzip\r\n", &gzip))
        .await;
    assert!(reply.ends_with("length 3000000"), "{reply}");
    let chunked = b"POST / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\
        transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n";
    assert!(server.ask(chunked).await.ends_with("length 7"));
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_too_large_are_refused_however_they_come() {
    let server = Server::start(quick(), None).await;
    let too_large = "HTTP/1.1 413 ";
    let large = vec![0; 1001];
    assert!(
        server
            .ask(&post("/", "", &large))
            .await
            .starts_with(too_large)
    );
    let claim = b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 99999999999\r\n\r\n";
    assert!(server.ask(claim).await.starts_with(too_large));
    let chunk = [
        &b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n3e9\r\n"[..],
        &large,
    ];
    assert!(server.ask(&chunk.concat()).await.starts_with(too_large));
    let mut bomb = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut bomb, &vec![0; 100_000]).expect("packed");
    let bomb = bomb.finish().expect("packed");
    assert!(bomb.len() < 1000);
    let reply = server
        .ask(&post("/", "content-encoding: deflate\r\n", &bomb))
        .await;
    // The allowance of all bodies may be what ends it first.
    assert!(
        reply.starts_with(too_large) || reply.starts_with("HTTP/1.1 429 "),
        "{reply}"
    );
    for (headers, status) in [("br", "415"), ("gzip", "400")] {
        let headers = format!("content-encoding: {headers}\r\n");
        let reply = server.ask(&post("/", &headers, b"hardly packed")).await;
        assert!(reply.starts_with(&format!("HTTP/1.1 {status} ")), "{reply}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_clients_are_cut_off() {
    let server = Server::start(quick(), None).await;
    assert_eq!(rest(&mut server.connect().await).await, "", "says nothing");
    let mut dripping = server.connect().await;
    let (mut reader, mut writer) = dripping.split();
    let drip = async {
        for byte in b"GET / HTTP/1.1\r\nx: "
            .iter()
            .chain(std::iter::repeat(&b'y'))
        {
            if writer.write_all(&[*byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        reply = rest(&mut reader) => assert_eq!(reply, ""),
        () = drip => {}
    }
    let mut socket = server.connect().await;
    socket
        .write_all(b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 10\r\n\r\nabc")
        .await
        .expect("sent");
    let reply = rest(&mut socket).await;
    assert!(reply.starts_with("HTTP/1.1 408 "), "a slow body: {reply}");
    let mut socket = server.connect().await;
    socket
        .write_all(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")
        .await
        .expect("sent");
    let reply = rest(&mut socket).await;
    assert!(
        reply.ends_with("length 0"),
        "answered, then idle, then closed: {reply}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn more_connections_than_there_may_be_wait() {
    let limits = Limits {
        max_connections: 1,
        ..Limits::default()
    };
    let server = Server::start(limits, None).await;
    let mut first = server.connect().await;
    first
        .write_all(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")
        .await
        .expect("sent");
    let mut byte = [0];
    first.read_exact(&mut byte).await.expect("answered");
    let mut second = server.connect().await;
    second.write_all(&post("/", "", b"")).await.expect("sent");
    let waits = timeout(Duration::from_millis(100), second.read_exact(&mut byte)).await;
    assert!(waits.is_err());
    drop(first);
    assert!(rest(&mut second).await.ends_with("length 0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_ends_its_request() {
    let server = Server::start(Limits::default(), None).await;
    let mut socket = server.connect().await;
    socket
        .write_all(b"GET /wait HTTP/1.1\r\nhost: h\r\n\r\n")
        .await
        .expect("sent");
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(server.echo.left.load(Ordering::SeqCst), 0);
    drop(socket);
    let left = async {
        while server.echo.left.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(20), left)
        .await
        .expect("the request ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_lets_requests_end() {
    let server = Server::start(Limits::default(), None).await;
    let mut idle = server.connect().await;
    idle.write_all(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")
        .await
        .expect("sent");
    let mut busy = server.connect().await;
    busy.write_all(b"GET /wait HTTP/1.1\r\nhost: h\r\n\r\n")
        .await
        .expect("sent");
    tokio::time::sleep(Duration::from_millis(100)).await;
    server.stop.send_replace(true);
    assert!(rest(&mut idle).await.ends_with("length 0"));
    assert!(!server.task.is_finished());
    assert!(
        TcpStream::connect(server.address).await.is_err(),
        "no more come in"
    );
    server.echo.permit.notify_one();
    assert!(rest(&mut busy).await.ends_with("length 0"));
    timeout(Duration::from_secs(20), server.task)
        .await
        .expect("the listener ends")
        .expect("without a panic");
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_does_not_wait_for_ever() {
    let limits = Limits {
        drain_timeout: Duration::from_millis(100),
        ..Limits::default()
    };
    let server = Server::start(limits, None).await;
    let mut busy = server.connect().await;
    busy.write_all(b"GET /wait HTTP/1.1\r\nhost: h\r\n\r\n")
        .await
        .expect("sent");
    tokio::time::sleep(Duration::from_millis(50)).await;
    server.stop.send_replace(true);
    assert_eq!(rest(&mut busy).await, "");
}

fn tls_file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/tls")
        .join(name)
}

fn connector(client: Option<&str>) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_file(tls_file("root.pem")).expect("a root");
    roots.add(root).expect("a root");
    let builder = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots);
    let config = match client {
        None => builder.with_no_client_auth(),
        Some(name) => {
            let certificate = tls_file(&format!("{name}.pem"));
            let key = tls_file(&format!("{name}.key"));
            let chain = vec![CertificateDer::from_pem_file(certificate).expect("a certificate")];
            let key = PrivateKeyDer::from_pem_file(key).expect("a key");
            builder
                .with_client_auth_cert(chain, key)
                .expect("they belong together")
        }
    };
    TlsConnector::from(Arc::new(config))
}

/// What the server answers through TLS, and the certificate that it shows.
async fn ask_tls(server: &Server, client: Option<&str>) -> std::io::Result<(String, Vec<u8>)> {
    let name = ServerName::try_from("localhost").expect("a name");
    let mut stream = connector(client)
        .connect(name, server.connect().await)
        .await?;
    stream.write_all(&post("/who", "", b"")).await?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await?;
    let shown = stream
        .get_ref()
        .1
        .peer_certificates()
        .expect("a certificate");
    Ok((reply, shown[0].to_vec()))
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_change_without_a_pause() {
    let folder = tempfile::tempdir().expect("a folder");
    let install = |name: &str| {
        for kind in ["pem", "key"] {
            let from = tls_file(&format!("{name}.{kind}"));
            std::fs::copy(from, folder.path().join(kind)).expect("copied");
        }
    };
    install("first");
    let files = TlsFiles {
        certificate: folder.path().join("pem"),
        key: folder.path().join("key"),
        client_roots: None,
        is_client_optional: false,
    };
    let tls = Arc::new(Tls::load(files).expect("good files"));
    let server = Server::start(Limits::default(), Some(Arc::clone(&tls))).await;
    let (reply, first) = ask_tls(&server, None).await.expect("answered");
    assert!(reply.ends_with("certificate 0"), "{reply}");

    install("second");
    std::fs::copy(tls_file("edge.key"), folder.path().join("key")).expect("copied");
    assert!(tls.reload().is_err(), "a key of another certificate");
    assert_eq!(ask_tls(&server, None).await.expect("as before").1, first);
    install("second");
    tls.reload().expect("good files");
    assert_ne!(ask_tls(&server, None).await.expect("answered").1, first);
    let plain = server.ask(&post("/", "", b"")).await;
    assert!(!plain.contains("HTTP"), "no answer without TLS: {plain}");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_show_their_certificates() {
    let files = TlsFiles {
        certificate: tls_file("first.pem"),
        key: tls_file("first.key"),
        client_roots: Some(tls_file("root.pem")),
        is_client_optional: false,
    };
    let tls = Arc::new(Tls::load(files).expect("good files"));
    let server = Server::start(Limits::default(), Some(tls)).await;
    let shown = CertificateDer::from_pem_file(tls_file("edge.pem")).expect("a certificate");
    let (reply, _) = ask_tls(&server, Some("edge")).await.expect("answered");
    assert!(
        reply.ends_with(&format!("certificate {}", shown.len())),
        "{reply}"
    );
    let without = ask_tls(&server, None).await;
    assert!(without.is_err(), "{without:?}");
    let usage = ask_tls(&server, Some("first")).await;
    assert!(usage.is_err(), "a certificate for servers: {usage:?}");
}
