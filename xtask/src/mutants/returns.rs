//! What a function may return instead of what it does.

use syn::{GenericArgument, PathArguments, Type};

/// The name of a type, without its arguments.
pub(super) fn name(kind: &Type) -> String {
    match kind {
        Type::Path(path) => {
            path.path.segments.last().map_or_else(String::new, |segment| segment.ident.to_string())
        }
        Type::Reference(reference) => name(&reference.elem),
        Type::Tuple(tuple) if tuple.elems.is_empty() => "()".to_owned(),
        _ => String::new(),
    }
}

/// Values that a function of this type can return at once; none where nothing simple is known.
pub(super) fn values(kind: &Type) -> Vec<String> {
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    match kind {
        Type::Tuple(tuple) if tuple.elems.is_empty() => texts(&["()"]),
        Type::Reference(reference) if matches!(*reference.elem, Type::Slice(_)) => match reference.mutability
        {
            None => texts(&["&[]"]),
            Some(_) => Vec::new(),
        },
        Type::Path(path) => {
            let Some(segment) = path.path.segments.last() else { return Vec::new() };
            let first = match &segment.arguments {
                PathArguments::AngleBracketed(arguments) => {
                    arguments.args.iter().find_map(|argument| match argument {
                        GenericArgument::Type(kind) => Some(kind),
                        _ => None,
                    })
                }
                _ => None,
            };
            let within = |form: &str| {
                let values = first.map(values).unwrap_or_default();
                values.iter().map(|value| format!("{form}({value})")).collect::<Vec<String>>()
            };
            match segment.ident.to_string().as_str() {
                "bool" => texts(&["true", "false"]),
                "u8" | "u16" | "u32" | "u64" | "usize" => texts(&["0", "1"]),
                "i8" | "i16" | "i32" | "i64" | "isize" => texts(&["0", "1", "-1"]),
                "NTSTATUS" => texts(&["0"]),
                "Status" => texts(&["Status::SUCCESS"]),
                "Option" => ["None".to_owned()].into_iter().chain(within("Some")).collect(),
                "Result" => within("Ok"),
                _ => Vec::new(),
            }
        }
        _ => Vec::new(),
    }
}
