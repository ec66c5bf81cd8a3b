//! Text of which some tokens are hidden: as letters with a style, in lines, as a picture.

mod partial_text;
mod picture;
mod styled_text;

pub use partial_text::{TextPiece, partial_text, shown_len};
pub use picture::RevealPicture;
pub use styled_text::{StyledLetter, wrap_text};
