//! Values of a type to return instead of what a function computes, as cargo-mutants chooses them.
//! That not every one of them compiles is found by compiling.

use syn::{GenericArgument, Path, PathArguments, ReturnType, Type, TypeParamBound};

pub fn of_return(output: &ReturnType) -> Vec<String> {
    match output {
        ReturnType::Default => vec!["()".into()],
        ReturnType::Type(_, of) => of_type(of),
    }
}

fn of_type(of: &Type) -> Vec<String> {
    match of {
        Type::Path(of) => of_path(&of.path),
        Type::Array(of) => {
            let len = crate::find::text_of(&of.len);
            each(&of.elem, |value| format!("[{value}; {len}]"))
        }
        Type::Slice(of) => of_slice(&of.elem),
        Type::Reference(of) => match &*of.elem {
            Type::Path(path) if path.path.is_ident("str") => of_path(&path.path),
            Type::Slice(slice) => of_slice(&slice.elem),
            other => each(other, |value| format!("Box::leak(Box::new({value}))")),
        },
        Type::Tuple(of) => {
            let mut rows = vec![Vec::new()];
            for elem in &of.elems {
                let values = of_type(elem);
                rows = rows
                    .iter()
                    .flat_map(|row| {
                        values
                            .iter()
                            .map(|value| [&row[..], &[value.clone()]].concat())
                    })
                    .collect();
            }
            rows.iter()
                .map(|row| format!("({})", row.join(", ")))
                .collect()
        }
        Type::ImplTrait(of) => of
            .bounds
            .iter()
            .find_map(item_of_iterator)
            .map(|item| {
                let one = each(item, |value| format!("std::iter::once({value})"));
                [vec!["std::iter::empty()".into()], one].concat()
            })
            .unwrap_or_default(),
        Type::Never(_) => Vec::new(),
        _ => vec!["Default::default()".into()],
    }
}

fn of_path(path: &Path) -> Vec<String> {
    let Some(last) = path.segments.last() else {
        return Vec::new();
    };
    let name = last.ident.to_string();
    let fixed: &[&str] = match name.as_str() {
        "bool" => &["true", "false"],
        "String" => &["String::new()", "\"xyzzy\".into()"],
        "str" => &["\"\"", "\"xyzzy\""],
        "u8" | "u16" | "u32" | "u64" | "u128" | "usize" => &["0", "1"],
        "i8" | "i16" | "i32" | "i64" | "i128" | "isize" => &["0", "1", "-1"],
        "f32" | "f64" => &["0.0", "1.0", "-1.0"],
        "NonZeroUsize" | "NonZeroU8" | "NonZeroU16" | "NonZeroU32" | "NonZeroU64" => {
            &["1.try_into().unwrap()"]
        }
        _ => &[],
    };
    if !fixed.is_empty() {
        return fixed.iter().map(ToString::to_string).collect();
    }
    let inner = arguments(&last.arguments);
    let with = |first: &str, forms: &[&str]| {
        let rest = inner.first().into_iter().flat_map(|inner| {
            let values = of_type(inner);
            values.into_iter().flat_map(|value| {
                let form = |form: &&str| form.replace("T", &name).replace('…', &value);
                forms.iter().map(form).collect::<Vec<_>>()
            })
        });
        let first = (!first.is_empty()).then(|| first.replace("T", &name));
        first.into_iter().chain(rest).collect()
    };
    match (name.as_str(), inner.len()) {
        ("Result", 0) => vec!["Ok(Default::default())".into()],
        ("Result", _) => with("", &["Ok(…)"]),
        ("Option", 1) => with("None", &["Some(…)"]),
        ("Vec", 1) => with("vec![]", &["vec![…]"]),
        ("Cow", 1) => with("", &["Cow::Borrowed(…)", "Cow::Owned(….to_owned())"]),
        ("Box" | "Cell" | "RefCell" | "Arc" | "Rc" | "Mutex", 1) => with("", &["T::new(…)"]),
        ("BinaryHeap" | "BTreeSet" | "HashSet" | "LinkedList" | "VecDeque", 1) => {
            with("T::new()", &["T::from_iter([…])"])
        }
        ("BTreeMap" | "HashMap", 2) => {
            let mut all = vec![format!("{name}::new()")];
            for key in of_type(inner[0]) {
                for value in of_type(inner[1]) {
                    all.push(format!("{name}::from_iter([({key}, {value})])"));
                }
            }
            all
        }
        (_, 1) => with(
            "T::new()",
            &["T::from_iter([…])", "T::new(…)", "T::from(…)"],
        ),
        _ => vec!["Default::default()".into()],
    }
}

fn each(of: &Type, form: impl Fn(String) -> String) -> Vec<String> {
    of_type(of).into_iter().map(form).collect()
}

fn of_slice(elem: &Type) -> Vec<String> {
    let one = each(elem, |value| format!("Vec::leak(vec![{value}])"));
    [vec!["Vec::leak(Vec::new())".into()], one].concat()
}

fn arguments(of: &PathArguments) -> Vec<&Type> {
    let PathArguments::AngleBracketed(of) = of else {
        return Vec::new();
    };
    let types = of.args.iter().filter_map(|argument| match argument {
        GenericArgument::Type(of) => Some(of),
        _ => None,
    });
    types.collect()
}

fn item_of_iterator(bound: &TypeParamBound) -> Option<&Type> {
    let TypeParamBound::Trait(bound) = bound else {
        return None;
    };
    let last = bound
        .path
        .segments
        .last()
        .filter(|last| last.ident == "Iterator")?;
    let PathArguments::AngleBracketed(of) = &last.arguments else {
        return None;
    };
    of.args.iter().find_map(|argument| match argument {
        GenericArgument::AssocType(of) if of.ident == "Item" => Some(&of.ty),
        _ => None,
    })
}
