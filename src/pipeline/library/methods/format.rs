//! `String.format`.

use crate::vm::value::Value;
use crate::vm::{Fault, Vm, compare};

/// The first argument is the format; `%s %d %f %x %b %c %n %%` with flags, width and precision.
pub(crate) fn format(vm: &Vm, args: &[Value]) -> Result<Value, Fault> {
    let pattern = args.first().map(|v| vm.text(v)).unwrap_or_default();
    let mut rest: Vec<Value> = args.get(1..).unwrap_or_default().to_vec();
    // An array is given as the list that it is here; a list alone is one value.
    if let [one] = rest.as_slice()
        && pattern.replace("%%", "").replace("%n", "").matches('%').count() != 1
        && let Some(items) = vm.list_items(one)
    {
        rest = items;
    }
    let mut next = 0;
    let mut out = String::new();
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut spec = String::new();
        while let Some(c) = chars.peek().filter(|c| !c.is_alphabetic() && **c != '%') {
            spec.push(*c);
            chars.next();
        }
        let kind = chars.next().unwrap_or('%');
        match kind {
            'n' => out.push('\n'),
            '%' => out.push('%'),
            kind => {
                let at = match spec.split_once('$') {
                    Some((number, _)) => number.parse::<usize>().unwrap_or(1).saturating_sub(1),
                    None => {
                        next += 1;
                        next - 1
                    }
                };
                let flags = spec.split_once('$').map_or(spec.as_str(), |s| s.1);
                let value =
                    rest.get(at).ok_or_else(|| Fault::argument(format!("Format specifier '%{kind}'")))?;
                out.push_str(&one(vm, flags, kind, value)?);
                vm.limit_text(out.len())?;
            }
        }
    }
    Ok(Value::from(out))
}

/// `1,234,567.8`
fn grouped(number: &str) -> String {
    let (whole, fraction) = number.split_at(number.find('.').unwrap_or(number.len()));
    let (sign, digits) = whole.split_at(usize::from(whole.starts_with('-')));
    let mut out = sign.to_owned();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out + fraction
}

fn one(vm: &Vm, spec: &str, kind: char, value: &Value) -> Result<String, Fault> {
    let digits = spec.trim_start_matches(['-', '+', '0', ' ', ',', '#']);
    let flags = &spec[..spec.len() - digits.len()];
    let (width, precision) =
        digits.split_once('.').map_or((digits, None), |(w, p)| (w, p.parse::<usize>().ok()));
    let width: usize = width.parse().unwrap_or(0);
    vm.limit_text(width.max(precision.unwrap_or(0)).saturating_mul(4))?;
    let wrong = || Fault::argument(format!("{kind} != {}", vm.type_name(value)));
    let mut text = match kind {
        's' | 'S' => {
            let text = vm.text(value);
            precision.map_or(text.clone(), |p| text.chars().take(p).collect())
        }
        'd' => match value {
            Value::Int(_) | Value::Long(_) => vm.text(value),
            Value::Decimal(number) if number.integer().is_some() => vm.text(value),
            _ => return Err(wrong()),
        },
        'x' => format!("{:x}", compare::whole(value).ok_or_else(wrong)?),
        'X' => format!("{:X}", compare::whole(value).ok_or_else(wrong)?),
        'o' => format!("{:o}", compare::whole(value).ok_or_else(wrong)?),
        'f' => {
            let places = precision.unwrap_or(6).min(20);
            match value {
                Value::Decimal(number) => {
                    let rounded = number.rounded(u32::try_from(places).unwrap_or(6));
                    rounded.map_or_else(|| number.to_string(), |n| n.to_string())
                }
                number if compare::is_number(number) => format!("{:.places$}", compare::double(number)),
                _ => return Err(wrong()),
            }
        }
        'b' => vm.truth(value).to_string(),
        'c' => vm.text(value).chars().take(1).collect(),
        kind => return Err(Fault::argument(format!("Conversion = '{kind}'"))),
    };
    if kind == 'S' {
        text = text.to_uppercase();
    }
    if flags.contains(',') && matches!(kind, 'd' | 'f') {
        text = grouped(&text);
    }
    if flags.contains('+') && !text.starts_with('-') && matches!(kind, 'd' | 'f') {
        text.insert(0, '+');
    }
    let missing = width.saturating_sub(text.chars().count());
    Ok(if flags.contains('-') {
        text + &" ".repeat(missing)
    } else if flags.contains('0') && text.starts_with(['-', '+']) {
        format!("{}{}{}", &text[..1], "0".repeat(missing), &text[1..])
    } else {
        let fill = if flags.contains('0') { "0" } else { " " };
        fill.repeat(missing) + &text
    })
}
