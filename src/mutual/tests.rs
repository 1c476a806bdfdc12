use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;

fn keys(digits: &[char]) -> KeyList {
    let text: String = digits.iter().map(|digit| format!("{}\n", digit.to_string().repeat(64))).collect();
    KeyList::parse(&text, Path::new("peer.keys")).unwrap()
}

fn tls(digits: &[char]) -> PeerTls {
    PeerTls::new(keys(digits)).unwrap()
}

/// What comes back of a byte that is sent; `Err`: what the server, or else the client, has against the other.
async fn talk(server: Arc<ServerConfig>, client: Arc<ClientConfig>) -> Result<u8, String> {
    let (here, there) = duplex(16 * 1024);
    let serve = async {
        let mut stream = TlsAcceptor::from(server).accept(there).await.map_err(|e| e.to_string())?;
        let byte = stream.read_u8().await.map_err(|e| e.to_string())?;
        stream.write_u8(byte).await.map_err(|e| e.to_string())?;
        stream.shutdown().await.map_err(|e| e.to_string())
    };
    let ask = async {
        let name = ServerName::try_from(REPLICA).unwrap();
        let mut stream = TlsConnector::from(client).connect(name, here).await.map_err(|e| e.to_string())?;
        stream.write_u8(7).await.map_err(|e| e.to_string())?;
        stream.read_u8().await.map_err(|e| e.to_string())
    };
    let (served, answer) = tokio::join!(serve, ask);
    match (served, answer) {
        (Ok(()), answer) => answer,
        // who is refused tells the other so: the reason is with the one that refuses
        (Err(server), Err(client)) => {
            Err(if server.contains("alert") || server.contains("eof") { client } else { server })
        }
        (Err(server), Ok(_)) => panic!("the server refused what the client took: {server}"),
    }
}

#[tokio::test]
async fn those_that_share_a_key_understand_each_other_also_while_it_is_replaced() {
    for (server, client) in [
        (&['a'][..], &['a'][..]),
        // the new one is added, then put first, then alone
        (&['a'], &['a', 'b']),
        (&['a', 'b'], &['a']),
        (&['a', 'b'], &['b', 'a']),
        (&['b', 'a'], &['a', 'b']),
        (&['b'], &['b', 'a']),
        (&['b', 'a'], &['b']),
    ] {
        let answer = talk(tls(server).server(), tls(client).client()).await;
        assert_eq!(answer, Ok(7), "{server:?} {client:?}");
        let operator = tls(client).operator_client().unwrap();
        assert_eq!(talk(tls(server).server(), operator).await, Ok(7), "{server:?} {client:?}");
    }
}

#[tokio::test]
async fn one_without_the_key_is_refused_on_both_sides() {
    for (server, client) in [(&['a'][..], &['b'][..]), (&['a'], &['b', 'a']), (&['b', 'a'], &['a'])] {
        let refused = talk(tls(server).server(), tls(client).client()).await.unwrap_err();
        assert!(refused.contains("UnknownIssuer"), "{server:?} {client:?}: {refused}");
    }
}

#[tokio::test]
async fn who_shows_no_certificate_or_one_of_another_name_is_refused() {
    let list = keys(&['a']);
    let authorities = Authorities::of(&list).unwrap();
    let nobody = ClientConfig::builder_with_provider(authority::provider())
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_root_certificates(Arc::clone(&authorities.roots))
        .with_no_client_auth();
    let refused = talk(tls(&['a']).server(), Arc::new(nobody)).await.unwrap_err();
    assert!(refused.contains("no certificates") || refused.contains("CertificateRequired"), "{refused}");
    let other = client(&authorities, authorities.certify("agent.majordomo").unwrap()).unwrap();
    let refused = talk(tls(&['a']).server(), other).await.unwrap_err();
    assert!(refused.contains("NotValidForName") || refused.contains("not valid for name"), "{refused}");
}

#[tokio::test]
async fn whoever_looks_after_replicas_can_not_stand_for_one() {
    let authorities = Authorities::of(&keys(&['a'])).unwrap();
    let own = authorities.certify(OPERATOR).unwrap();
    let server = ServerConfig::builder_with_provider(authority::provider())
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(own.chain, own.key.into())
        .unwrap();
    let refused = talk(Arc::new(server), tls(&['a']).client()).await.unwrap_err();
    assert!(!refused.is_empty());
}

#[test]
fn an_authority_follows_from_its_key() {
    let subjects = |digits: &[char]| {
        let roots = Authorities::of(&keys(digits)).unwrap().roots;
        let of = |root: &rustls::pki_types::TrustAnchor<'_>| {
            (root.subject.to_vec(), root.subject_public_key_info.to_vec())
        };
        roots.roots.iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!(subjects(&['a', 'b']), [subjects(&['a']), subjects(&['b'])].concat());
    assert_ne!(subjects(&['a']), subjects(&['b']));
    let made = tls(&['a']);
    assert_eq!(format!("{made:?} {:?}", Peering::plain("secret".into())), "PeerTls(***) Peering(Plain, ***)");
}
