//! The connections of one core, found by index and generation.

use std::collections::HashMap;

use crate::core::io::ConnId;

use super::Connection;

/// A connection is taken out while its commands run, so that they can reach everything else.
#[derive(Default)]
pub struct Connections {
    places: Vec<Option<Box<Connection>>>,
    count: usize,
    /// Sum of what the connections took when they were last noted.
    bytes: usize,
    /// Closed ones that sent other cores commands, and how many have not been answered. Those are
    /// run, so that what is done of a pipeline is always its beginning; and so long their client
    /// counts as one: whoever comes, asks for much and goes, over and over, gets no further.
    departed: HashMap<ConnId, usize>,
}

impl Connections {
    /// Open connections, one that is taken out included.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Open ones, and closed ones for which other cores have yet to do something.
    pub fn served(&self) -> usize {
        self.count + self.departed.len()
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// What all of them take, as it was when each was last used.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Notes what a connection takes now.
    #[inline]
    pub fn note(&mut self, id: ConnId) {
        let place = self.places.get_mut(id.index as usize).and_then(Option::as_deref_mut);
        if let Some(connection) = place {
            note(&mut self.bytes, connection);
        }
    }

    pub fn insert(&mut self, connection: Connection) {
        let mut connection = connection;
        note(&mut self.bytes, &mut connection);
        let index = connection.id.index as usize;
        if self.places.len() <= index {
            self.places.resize_with(index + 1, || None);
        }
        assert!(self.places[index].is_none(), "a connection's index is free when it is given");
        self.places[index] = Some(Box::new(connection));
        self.count += 1;
    }

    pub fn take(&mut self, id: ConnId) -> Option<Box<Connection>> {
        let place = self.places.get_mut(id.index as usize)?;
        if place.as_ref().is_some_and(|connection| connection.id == id) {
            return place.take();
        }
        None
    }

    /// Puts back what [`Connections::take`] gave.
    pub fn put_back(&mut self, mut connection: Box<Connection>) {
        let index = connection.id.index as usize;
        note(&mut self.bytes, &mut connection);
        debug_assert!(self.places[index].is_none());
        self.places[index] = Some(connection);
    }

    /// A connection that was taken out is not put back: it is closed.
    pub fn on_closed(&mut self, connection: &Connection) {
        self.count -= 1;
        self.bytes -= connection.noted_bytes;
        let awaited = connection.replies.awaited_of_cores();
        if awaited > 0 {
            self.departed.insert(connection.id, awaited);
        }
    }

    /// Another core has answered a connection that is not here any more.
    pub fn on_late_answer(&mut self, id: ConnId) {
        if let Some(awaited) = self.departed.get_mut(&id) {
            *awaited -= 1;
            if *awaited == 0 {
                self.departed.remove(&id);
            }
        }
    }

    /// What closed connections wait for does not come any more.
    pub fn forget_departed(&mut self) {
        self.departed.clear();
    }

    pub fn get_mut(&mut self, id: ConnId) -> Option<&mut Connection> {
        let connection = self.places.get_mut(id.index as usize)?.as_deref_mut()?;
        (connection.id == id).then_some(connection)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Connection> {
        self.places.iter().flatten().map(|connection| &**connection)
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Connection> {
        self.places.iter_mut().flatten().map(|connection| &mut **connection)
    }
}

#[inline]
fn note(sum: &mut usize, connection: &mut Connection) {
    let now = connection.memory_bytes();
    *sum = *sum + now - std::mem::replace(&mut connection.noted_bytes, now);
}
