//! The connection phase's packets: greeting, the client's answer, auth switch.

use sql_base::SqlError;

use super::packet::Reader;
use crate::accounts::auth::{NONCE_BYTES, Plugin};

/// Capability bits that we name.
#[allow(missing_docs)]
pub mod capability {
    pub const LONG_PASSWORD: u32 = 1;
    pub const FOUND_ROWS: u32 = 1 << 1;
    pub const LONG_FLAG: u32 = 1 << 2;
    pub const CONNECT_WITH_DB: u32 = 1 << 3;
    pub const ODBC: u32 = 1 << 6;
    pub const LOCAL_FILES: u32 = 1 << 7;
    pub const IGNORE_SPACE: u32 = 1 << 8;
    pub const PROTOCOL_41: u32 = 1 << 9;
    pub const INTERACTIVE: u32 = 1 << 10;
    pub const SSL: u32 = 1 << 11;
    pub const TRANSACTIONS: u32 = 1 << 13;
    pub const SECURE_CONNECTION: u32 = 1 << 15;
    pub const MULTI_STATEMENTS: u32 = 1 << 16;
    pub const MULTI_RESULTS: u32 = 1 << 17;
    pub const PS_MULTI_RESULTS: u32 = 1 << 18;
    pub const PLUGIN_AUTH: u32 = 1 << 19;
    pub const CONNECT_ATTRS: u32 = 1 << 20;
    pub const PLUGIN_AUTH_LENENC: u32 = 1 << 21;
    pub const DEPRECATE_EOF: u32 = 1 << 24;

    /// What the server can do (`SSL` is added when it can). Not: compression, session tracking.
    pub const SERVER: u32 = LONG_PASSWORD
        | FOUND_ROWS
        | LONG_FLAG
        | CONNECT_WITH_DB
        | ODBC
        | LOCAL_FILES
        | IGNORE_SPACE
        | PROTOCOL_41
        | INTERACTIVE
        | TRANSACTIONS
        | SECURE_CONNECTION
        | MULTI_STATEMENTS
        | MULTI_RESULTS
        | PS_MULTI_RESULTS
        | PLUGIN_AUTH
        | CONNECT_ATTRS
        | PLUGIN_AUTH_LENENC
        | DEPRECATE_EOF;
}

/// Writes the greeting's payload.
pub fn greeting(out: &mut Vec<u8>, version: &str, id: u64, nonce: &[u8; NONCE_BYTES], capabilities: u32, status: u16) {
    out.push(10);
    out.extend_from_slice(version.as_bytes());
    out.push(0);
    out.extend_from_slice(&(id as u32).to_le_bytes());
    out.extend_from_slice(&nonce[..8]);
    out.push(0);
    out.extend_from_slice(&(capabilities as u16).to_le_bytes());
    // utf8mb4_bin: the default that clients are told.
    out.push(46);
    out.extend_from_slice(&status.to_le_bytes());
    out.extend_from_slice(&((capabilities >> 16) as u16).to_le_bytes());
    out.push(NONCE_BYTES as u8 + 1);
    out.extend_from_slice(&[0; 10]);
    out.extend_from_slice(&nonce[8..]);
    out.push(0);
    out.extend_from_slice(Plugin::Native.name().as_bytes());
    out.push(0);
}

/// Writes an auth switch request's payload.
pub fn auth_switch(out: &mut Vec<u8>, plugin: Plugin, nonce: &[u8; NONCE_BYTES]) {
    out.push(0xFE);
    out.extend_from_slice(plugin.name().as_bytes());
    out.push(0);
    out.extend_from_slice(nonce);
    out.push(0);
}

/// What the client answers to the greeting.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HandshakeResponse {
    /// What it can do.
    pub capabilities: u32,
    /// Its `max_allowed_packet`.
    pub max_packet_bytes: u32,
    /// Collation id.
    pub collation: u8,
    /// It asks for TLS first; nothing else is filled then.
    pub ssl_request: bool,
    /// User.
    pub user: String,
    /// Answer to the nonce.
    pub auth_response: Vec<u8>,
    /// Database to use.
    pub database: Option<String>,
    /// Plugin that the answer is for.
    pub plugin: Vec<u8>,
    /// Attributes (`program_name`, …).
    pub attributes: Vec<(String, String)>,
}

/// Bytes of attributes that are read, as in MySQL; a longer list is ignored.
const ATTRIBUTES_BYTES_MAX: usize = 64 << 10;

impl HandshakeResponse {
    /// Reads the packet.
    pub fn parse(payload: &[u8]) -> Result<Self, SqlError> {
        use capability::*;
        let bad = |_| SqlError::BadHandshake;
        let mut reader = Reader(payload);
        let capabilities = reader.u32().map_err(bad)?;
        if capabilities & PROTOCOL_41 == 0 {
            return Err(SqlError::BadHandshake);
        }
        let max_packet_bytes = reader.u32().map_err(bad)?;
        let collation = reader.u8().map_err(bad)?;
        reader.take(23).map_err(bad)?;
        let mut response = HandshakeResponse { capabilities, max_packet_bytes, collation, ..Self::default() };
        if capabilities & SSL != 0 && reader.0.is_empty() {
            response.ssl_request = true;
            return Ok(response);
        }
        response.user = text(reader.until_zero());
        response.auth_response = read_auth_response(&mut reader, capabilities).map_err(bad)?;
        if capabilities & CONNECT_WITH_DB != 0 {
            let database = text(reader.until_zero());
            response.database = (!database.is_empty()).then_some(database);
        }
        if capabilities & PLUGIN_AUTH != 0 {
            response.plugin = reader.until_zero().to_vec();
        }
        if capabilities & CONNECT_ATTRS != 0 && !reader.0.is_empty() {
            response.attributes = read_attributes(&mut reader).map_err(bad)?;
        }
        Ok(response)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn read_auth_response(reader: &mut Reader<'_>, capabilities: u32) -> Result<Vec<u8>, SqlError> {
    Ok(if capabilities & capability::PLUGIN_AUTH_LENENC != 0 {
        reader.bytes()?.to_vec()
    } else if capabilities & capability::SECURE_CONNECTION != 0 {
        let n = reader.u8()?;
        reader.take(usize::from(n))?.to_vec()
    } else {
        reader.until_zero().to_vec()
    })
}

fn read_attributes(reader: &mut Reader<'_>) -> Result<Vec<(String, String)>, SqlError> {
    let all = reader.bytes()?;
    let mut attributes = Vec::new();
    if all.len() > ATTRIBUTES_BYTES_MAX {
        return Ok(attributes);
    }
    let mut reader = Reader(all);
    while !reader.0.is_empty() {
        attributes.push((text(reader.bytes()?), text(reader.bytes()?)));
    }
    Ok(attributes)
}

/// What `COM_CHANGE_USER` asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChangeUser {
    /// User.
    pub user: String,
    /// Answer to the connection's nonce.
    pub auth_response: Vec<u8>,
    /// Database to use.
    pub database: Option<String>,
    /// Collation id, if it was sent.
    pub collation: Option<u16>,
    /// Plugin that the answer is for.
    pub plugin: Vec<u8>,
}

impl ChangeUser {
    /// Reads the command's payload after its byte.
    pub fn parse(payload: &[u8], capabilities: u32) -> Result<Self, SqlError> {
        let mut reader = Reader(payload);
        let user = text(reader.until_zero());
        let auth_response = if capabilities & capability::SECURE_CONNECTION != 0 {
            let n = reader.u8()?;
            reader.take(usize::from(n))?.to_vec()
        } else {
            reader.until_zero().to_vec()
        };
        let database = text(reader.until_zero());
        let mut change =
            ChangeUser { user, auth_response, database: (!database.is_empty()).then_some(database), ..Self::default() };
        if reader.0.len() >= 2 {
            change.collation = Some(reader.u16()?);
            if capabilities & capability::PLUGIN_AUTH != 0 {
                change.plugin = reader.until_zero().to_vec();
            }
        }
        Ok(change)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_usual_answer() {
        let mut packet = (capability::SERVER).to_le_bytes().to_vec();
        packet.extend((16u32 << 20).to_le_bytes());
        packet.push(45);
        packet.extend([0; 23]);
        packet.extend(b"root\0");
        packet.extend([2, 0xAA, 0xBB]);
        packet.extend(b"shop\0mysql_native_password\0");
        packet.extend([10, 4]);
        packet.extend(b"_pid");
        packet.push(4);
        packet.extend(b"1234");
        let response = HandshakeResponse::parse(&packet).unwrap();
        assert_eq!(response.user, "root");
        assert_eq!(response.auth_response, [0xAA, 0xBB]);
        assert_eq!(response.database.as_deref(), Some("shop"));
        assert_eq!(response.plugin, b"mysql_native_password");
        assert_eq!(response.attributes, [("_pid".to_owned(), "1234".to_owned())]);
        for cut in 0..packet.len() {
            let _ = HandshakeResponse::parse(&packet[..cut]);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_parse_or_fail(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), flags in any::<u32>()) {
            let _ = HandshakeResponse::parse(&bytes);
            let _ = ChangeUser::parse(&bytes, flags);
            if bytes.len() >= 4 {
                bytes[..4].copy_from_slice(&(flags | capability::PROTOCOL_41).to_le_bytes());
                let _ = HandshakeResponse::parse(&bytes);
            }
        }
    }
}
