//! Enums with the list of all their members, from which none can be left out.

/// Declares an enum and its `ALL`.
macro_rules! listed {
    (
        $(#[$of_type:meta])*
        pub enum $name:ident {
            $($(#[$of_member:meta])* $member:ident,)+
        }
    ) => {
        $(#[$of_type])*
        pub enum $name {
            $($(#[$of_member])* $member,)+
        }

        impl $name {
            /// All of them, in this order.
            pub const ALL: &[Self] = &[$(Self::$member),+];
        }
    };
}
pub(crate) use listed;
