//! Things that come and go, found again by a token that is never given out twice.
//!
//! The kernel may report an event for a thing that an earlier event of the same batch ended. The generation in the
//! token tells it from the next thing in the same place.

/// Names a thing in a [`Slab`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Token {
    index: u32,
    generation: u32,
}

/// Tokens have to fit below a tag of eight bits.
const GENERATION_MASK: u32 = 0x00ff_ffff;

impl Token {
    /// In 56 bits.
    pub(super) fn to_bits(self) -> u64 {
        (u64::from(self.generation) << 32) | u64::from(self.index)
    }

    /// What [`Token::to_bits`] was.
    pub(super) fn from_bits(bits: u64) -> Token {
        Token { index: bits as u32, generation: (bits >> 32) as u32 & GENERATION_MASK }
    }
}

#[derive(Debug)]
struct Place<T> {
    generation: u32,
    thing: Option<T>,
}

/// A set of things.
#[derive(Debug)]
pub(super) struct Slab<T> {
    places: Vec<Place<T>>,
    free: Vec<u32>,
}

impl<T> Slab<T> {
    pub(super) fn new() -> Slab<T> {
        Slab { places: Vec::new(), free: Vec::new() }
    }

    /// Adds the thing that `make` makes, given its token; or nothing, if it makes none.
    pub(super) fn insert(&mut self, make: impl FnOnce(Token) -> Option<T>) -> Option<Token> {
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place { generation: 0, thing: None });
            (self.places.len() - 1) as u32
        });
        let place = &mut self.places[index as usize];
        let token = Token { index, generation: place.generation };
        place.thing = make(token);
        if place.thing.is_none() {
            self.free.push(index);
            return None;
        }
        Some(token)
    }

    pub(super) fn get_mut(&mut self, token: Token) -> Option<&mut T> {
        let place = self.places.get_mut(token.index as usize)?;
        place.thing.as_mut().filter(|_| place.generation == token.generation)
    }

    pub(super) fn remove(&mut self, token: Token) -> Option<T> {
        let place = self.places.get_mut(token.index as usize).filter(|place| place.generation == token.generation)?;
        let thing = place.thing.take()?;
        place.generation = (place.generation + 1) & GENERATION_MASK;
        self.free.push(token.index);
        Some(thing)
    }

    /// All tokens that name a thing now.
    pub(super) fn tokens(&self) -> Vec<Token> {
        let places = self.places.iter().enumerate().filter(|(_, place)| place.thing.is_some());
        places.map(|(index, place)| Token { index: index as u32, generation: place.generation }).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_outlives_its_thing_and_names_no_other() {
        let mut slab = Slab::new();
        let first = slab.insert(|_| Some("first")).expect("a thing");
        assert_eq!(slab.remove(first), Some("first"));
        let second = slab.insert(|_| Some("second")).expect("a thing");
        assert_eq!(slab.insert(|_| None), None);
        assert_eq!(slab.get_mut(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.get_mut(Token::from_bits(second.to_bits())), Some(&mut "second"));
        assert_eq!((slab.tokens(), slab.len()), (vec![second], 1));
    }
}
