//! Connections that wait for the end of a cut although both peers have ended: bounded, the oldest goes first.
//!
//! That one is over is not told to us; it is found out when room is needed.

use std::collections::VecDeque;

use super::slab::Token;

/// See the module's header.
#[derive(Debug)]
pub(super) struct HeldUp {
    oldest_first: VecDeque<Token>,
    max: usize,
}

impl HeldUp {
    /// None, and never more than `max`.
    pub(super) fn new(max: usize) -> HeldUp {
        HeldUp { oldest_first: VecDeque::new(), max }
    }

    /// Adds one that is not among them. Returns the one that has to go for it; `exists` says of one whether it is not
    /// over.
    pub(super) fn push(&mut self, token: Token, mut exists: impl FnMut(Token) -> bool) -> Option<Token> {
        if self.oldest_first.len() >= self.max {
            self.oldest_first.retain(|token| exists(*token));
        }
        self.oldest_first.push_back(token);
        (self.oldest_first.len() > self.max).then(|| self.oldest_first.pop_front()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_has_to_go_and_only_when_those_that_are_over_make_no_room() {
        let token = Token::from_bits;
        let mut held_up = HeldUp::new(3);
        for bits in 1..=3 {
            assert_eq!(held_up.push(token(bits), |_| panic!("there is room")), None);
        }
        assert_eq!(held_up.push(token(4), |_| true), Some(token(1)));
        assert_eq!(held_up.push(token(5), |one| one != token(3)), None, "the second of 2, 3 and 4 is over");
        assert_eq!(held_up.push(token(6), |_| true), Some(token(2)));
        assert_eq!(held_up.push(token(7), |_| false), None);
    }
}
