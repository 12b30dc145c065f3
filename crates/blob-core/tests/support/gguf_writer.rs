//! GGUF version 3, field by field.

/// Type codes of tensors.
pub const F32: u32 = 0;
pub const F16: u32 = 1;
pub const Q8_0: u32 = 8;

const ALIGNMENT: usize = 32;

/// Metadata and tensors in the order in which they are added.
#[derive(Clone, Default)]
pub struct GgufWriter {
    pairs: Vec<u8>,
    pair_count: u64,
    tensors: Vec<(String, Vec<usize>, u32, Vec<u8>)>,
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
}

impl GgufWriter {
    /// A pair of `code`, whose value is `value` as stored.
    pub fn pair(&mut self, key: &str, code: u32, value: &[u8]) -> &mut Self {
        put_text(&mut self.pairs, key);
        self.pairs.extend(code.to_le_bytes());
        self.pairs.extend(value);
        self.pair_count += 1;
        self
    }

    pub fn text(&mut self, key: &str, text: &str) -> &mut Self {
        let mut value = Vec::new();
        put_text(&mut value, text);
        self.pair(key, 8, &value)
    }

    pub fn count(&mut self, key: &str, count: usize) -> &mut Self {
        self.pair(key, 4, &(count as u32).to_le_bytes())
    }

    pub fn float(&mut self, key: &str, number: f32) -> &mut Self {
        self.pair(key, 6, &number.to_le_bytes())
    }

    pub fn flag(&mut self, key: &str, flag: bool) -> &mut Self {
        self.pair(key, 7, &[u8::from(flag)])
    }

    fn array(&mut self, key: &str, element: u32, len: usize, elements: &[u8]) -> &mut Self {
        let mut value = element.to_le_bytes().to_vec();
        value.extend((len as u64).to_le_bytes());
        value.extend(elements);
        self.pair(key, 9, &value)
    }

    pub fn texts<T: AsRef<str>>(&mut self, key: &str, texts: &[T]) -> &mut Self {
        let mut elements = Vec::new();
        for text in texts {
            put_text(&mut elements, text.as_ref());
        }
        self.array(key, 8, texts.len(), &elements)
    }

    pub fn integers(&mut self, key: &str, integers: &[i32]) -> &mut Self {
        let elements: Vec<u8> = integers.iter().flat_map(|it| it.to_le_bytes()).collect();
        self.array(key, 5, integers.len(), &elements)
    }

    pub fn flags(&mut self, key: &str, flags: &[bool]) -> &mut Self {
        let elements: Vec<u8> = flags.iter().map(|flag| u8::from(*flag)).collect();
        self.array(key, 7, flags.len(), &elements)
    }

    pub fn floats(&mut self, key: &str, floats: &[f32]) -> &mut Self {
        let elements: Vec<u8> = floats.iter().flat_map(|it| it.to_le_bytes()).collect();
        self.array(key, 6, floats.len(), &elements)
    }

    /// A tensor of type `code`; `shape` is outermost first.
    pub fn tensor(&mut self, name: &str, shape: &[usize], code: u32, bytes: Vec<u8>) -> &mut Self {
        self.tensors
            .push((name.to_owned(), shape.to_vec(), code, bytes));
        self
    }

    /// The file.
    pub fn bytes(&self) -> Vec<u8> {
        let mut file = b"GGUF".to_vec();
        file.extend(3_u32.to_le_bytes());
        file.extend((self.tensors.len() as u64).to_le_bytes());
        file.extend(self.pair_count.to_le_bytes());
        file.extend(&self.pairs);
        let mut data = Vec::new();
        for (name, shape, code, bytes) in &self.tensors {
            put_text(&mut file, name);
            file.extend((shape.len() as u32).to_le_bytes());
            for size in shape.iter().rev() {
                file.extend((*size as u64).to_le_bytes());
            }
            file.extend(code.to_le_bytes());
            file.extend((data.len() as u64).to_le_bytes());
            data.extend(bytes);
            data.resize(data.len().next_multiple_of(ALIGNMENT), 0);
        }
        file.resize(file.len().next_multiple_of(ALIGNMENT), 0);
        file.extend(data);
        file
    }
}
