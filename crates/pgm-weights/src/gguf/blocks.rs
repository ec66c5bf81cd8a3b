use burn::tensor::f16;

/// How weights are packed: in blocks of one scale each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BlockFormat {
    F32,
    F16,
    /// `scale (q - 8)`, 4 bits.
    Q4Zero,
    /// `scale q + minimum`, 4 bits.
    Q4One,
    /// `scale q`, 8 bits with a sign.
    Q8Zero,
}

/// Weights of a quantised block.
const BLOCK: usize = 32;

impl BlockFormat {
    /// The format of a GGML type number.
    pub(super) fn from_type_id(type_id: u32) -> Option<Self> {
        Some(match type_id {
            0 => Self::F32,
            1 => Self::F16,
            2 => Self::Q4Zero,
            3 => Self::Q4One,
            8 => Self::Q8Zero,
            _ => return None,
        })
    }

    /// Weights and bytes of a block.
    fn block(self) -> (usize, usize) {
        match self {
            Self::F32 => (1, 4),
            Self::F16 => (1, 2),
            Self::Q4Zero => (BLOCK, 2 + BLOCK / 2),
            Self::Q4One => (BLOCK, 4 + BLOCK / 2),
            Self::Q8Zero => (BLOCK, 2 + BLOCK),
        }
    }

    /// Bytes of so many weights; `None` if they are no whole blocks.
    pub(super) fn n_bytes(self, n_values: usize) -> Option<usize> {
        let (n_weights, n_bytes) = self.block();
        n_values
            .is_multiple_of(n_weights)
            .then(|| n_values / n_weights * n_bytes)
    }

    /// The weights of whole blocks.
    pub(super) fn dequantise(self, bytes: &[u8]) -> Vec<f32> {
        let (n_weights, n_bytes) = self.block();
        let mut values = Vec::with_capacity(bytes.len() / n_bytes * n_weights);
        for block in bytes.chunks_exact(n_bytes) {
            match self {
                Self::F32 => {
                    values.push(f32::from_le_bytes([block[0], block[1], block[2], block[3]]));
                }
                Self::F16 => values.push(half(block)),
                Self::Q4Zero => {
                    let scale = half(block);
                    values.extend(nibbles(&block[2..]).map(|q| scale * (f32::from(q) - 8.0)));
                }
                Self::Q4One => {
                    let (scale, minimum) = (half(block), half(&block[2..]));
                    values.extend(nibbles(&block[4..]).map(|q| scale * f32::from(q) + minimum));
                }
                Self::Q8Zero => {
                    let scale = half(block);
                    values.extend(block[2..].iter().map(|&q| scale * f32::from(q as i8)));
                }
            }
        }
        values
    }
}

fn half(bytes: &[u8]) -> f32 {
    f16::from_le_bytes([bytes[0], bytes[1]]).to_f32()
}

/// The lower halves of all bytes, then the upper ones.
fn nibbles(bytes: &[u8]) -> impl Iterator<Item = u8> {
    let lower = bytes.iter().map(|byte| byte & 0x0F);
    lower.chain(bytes.iter().map(|byte| byte >> 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_scale_and_integers() {
        let half = |value: f32| f16::from_f32(value).to_le_bytes();
        // Bytes 0xF0 to 0xFF: lower halves 0 to 15, upper halves 15.
        let packed: Vec<u8> = (0xF0..=0xFF).collect();
        let zero = BlockFormat::Q4Zero.dequantise(&[&half(0.5)[..], &packed].concat());
        let one = BlockFormat::Q4One.dequantise(&[&half(0.5)[..], &half(3.0), &packed].concat());
        for i in 0..BLOCK {
            let q = i.min(15) as f32;
            assert_eq!((zero[i], one[i]), (0.5 * (q - 8.0), 0.5 * q + 3.0));
        }
        let bytes: Vec<u8> = (0..32).map(|i| (i as i8 - 16) as u8).collect();
        let eight = BlockFormat::Q8Zero.dequantise(&[&half(0.25)[..], &bytes].concat());
        assert_eq!((eight[0], eight[31]), (-4.0, 3.75));
        assert_eq!(BlockFormat::F16.dequantise(&half(1.5)), [1.5]);
        assert_eq!(BlockFormat::F32.dequantise(&2.5f32.to_le_bytes()), [2.5]);
    }

    #[test]
    fn only_whole_blocks_have_a_size() {
        assert_eq!(BlockFormat::Q4One.n_bytes(64), Some(40));
        assert_eq!(BlockFormat::Q8Zero.n_bytes(33), None);
    }
}
