//! Bytes of a MySQL client: packets, the answer to the greeting, and values of parameters.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sql_server::session::ParamType;
use sql_server::wire::handshake::{ChangeUser, HandshakeResponse};
use sql_server::wire::packet::{Framer, Reader};
use sql_server::wire::value::read_param;

fuzz_target!(|data: &[u8]| {
    let mut framer = Framer::new(1 << 20);
    framer.buffer().extend_from_slice(data);
    while let Ok(Some(payload)) = framer.next_payload() {
        let _ = HandshakeResponse::parse(&payload);
        let _ = ChangeUser::parse(&payload, u32::MAX);
        if let Some((&[code, unsigned], values)) = payload.split_first_chunk::<2>() {
            let mut reader = Reader(values);
            let ty = ParamType { code, unsigned: unsigned & 1 != 0 };
            while !reader.0.is_empty() && read_param(&mut reader, ty).is_ok() {}
        }
    }
});
