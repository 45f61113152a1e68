//! What makes a card, account, telephone or identity number one of its kind: lengths, dates and check digits.
//!
//! Each rule follows the issuer's published definition. Scores say how rarely other numbers pass: a date and a check
//! digit are seldom there by chance, a check digit alone is in one of ten.

use super::numbers::{NumberKind, Run};

/// All kinds, in the order in which documentation lists them.
pub(super) const KINDS: &[NumberKind] = &[
    NumberKind {
        name: "phone",
        score: phone,
        named: PHONE_WORDS,
        reason: "has the form of a telephone number",
    },
    NumberKind {
        name: "credit_card",
        score: credit_card,
        named: &["card", "kort", "karte", "carte", "tarjeta", "visa", "mastercard", "amex"],
        reason: "card number with an issuer's prefix and a valid check digit",
    },
    NumberKind {
        name: "iban",
        score: iban,
        named: &["iban"],
        reason: "account number with valid check digits",
    },
    NumberKind {
        name: "se_personnummer",
        score: se_personnummer,
        named: &["personnummer", "personnr", "pnr", "personal identity"],
        reason: "Swedish identity number with a valid date and check digit",
    },
    NumberKind {
        name: "se_samordningsnummer",
        score: se_samordningsnummer,
        named: &["samordningsnummer", "samordningsnr", "coordination number"],
        reason: "Swedish coordination number with a valid date and check digit",
    },
    NumberKind {
        name: "se_organisationsnummer",
        score: se_organisationsnummer,
        named: &["org", "organisation", "företag"],
        reason: "Swedish organisation number with a valid check digit",
    },
    NumberKind {
        name: "us_ssn",
        score: us_ssn,
        named: &["ssn", "social security"],
        reason: "United States social security number in a range that is issued",
    },
    NumberKind {
        name: "uk_nino",
        score: uk_nino,
        named: &["nino", "national insurance", "ni number"],
        reason: "United Kingdom national insurance number",
    },
    NumberKind {
        name: "uk_nhs",
        score: uk_nhs,
        named: &["nhs"],
        reason: "NHS number with a valid check digit",
    },
    NumberKind {
        name: "de_steuer_id",
        score: de_steuer_id,
        named: &["steuer", "idnr", "tin", "tax id"],
        reason: "German tax number with a valid check digit",
    },
    NumberKind {
        name: "fr_nir",
        score: fr_nir,
        named: &["nir", "sécurité sociale", "securite sociale", "insee"],
        reason: "French social security number with a valid key",
    },
    NumberKind {
        name: "es_dni",
        score: es_dni,
        named: &["dni", "nif"],
        reason: "Spanish DNI with a valid letter",
    },
    NumberKind { name: "es_nie", score: es_nie, named: &["nie"], reason: "Spanish NIE with a valid letter" },
    NumberKind {
        name: "it_codice_fiscale",
        score: it_codice_fiscale,
        named: &["codice fiscale", "c.f."],
        reason: "Italian tax code with a valid check letter",
    },
    NumberKind {
        name: "nl_bsn",
        score: nl_bsn,
        named: &["bsn", "burgerservice", "sofi"],
        reason: "Dutch citizen service number that passes the eleven test",
    },
    NumberKind {
        name: "fi_hetu",
        score: fi_hetu,
        named: &["hetu", "henkilötunnus", "personbeteckning"],
        reason: "Finnish identity code with a valid date and check character",
    },
    NumberKind {
        name: "no_fodselsnummer",
        score: no_fodselsnummer,
        named: &["fødselsnummer", "fodselsnummer", "fnr", "d-nummer", "personnummer"],
        reason: "Norwegian identity number with a valid date and both check digits",
    },
    NumberKind {
        name: "dk_cpr",
        score: dk_cpr,
        named: &["cpr", "personnummer"],
        reason: "Danish CPR number with a valid date",
    },
    NumberKind {
        name: "pl_pesel",
        score: pl_pesel,
        named: &["pesel"],
        reason: "Polish PESEL with a valid date and check digit",
    },
];

/// Luhn's check, as on cards and in Swedish numbers.
fn luhn(digits: &[u32]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| if place % 2 == 0 { *digit } else { digit * 2 / 10 + digit * 2 % 10 })
        .sum();
    sum.is_multiple_of(10)
}

fn weighted(digits: &[u32], weights: &[u32]) -> u32 {
    digits.iter().zip(weights).map(|(digit, weight)| digit * weight).sum()
}

fn number(digits: &[u32]) -> u32 {
    digits.iter().fold(0, |value, digit| value * 10 + digit)
}

/// A day that exists; without a known century, 29 February is taken to exist in years that four divides.
fn is_date(year: u32, month: u32, day: u32) -> bool {
    let longest = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4)
            && (year < 100 || !year.is_multiple_of(100) || year.is_multiple_of(400)) =>
        {
            29
        }
        2 => 28,
        _ => return false,
    };
    (1..=longest).contains(&day)
}

fn credit_card(run: &Run<'_>) -> Option<f64> {
    let digits = run.digits()?;
    let length = digits.len();
    if !(12..=19).contains(&length) || !run.is_evenly_separated() {
        return None;
    }
    let groups: Vec<usize> = run.shape.split([' ', '-']).map(str::len).collect();
    if groups.len() > 1 && groups.iter().any(|group| !(3..=7).contains(group)) {
        return None;
    }
    let issued = match (number(&digits[..2]), number(&digits[..4])) {
        (40..=49, _) => matches!(length, 13 | 16 | 19),
        (51..=55, _) | (_, 2221..=2720) => length == 16,
        (34 | 37, _) => length == 15,
        (36 | 38 | 39, _) | (_, 3000..=3059) => (14..=19).contains(&length),
        (_, 6011) | (64 | 65, _) | (62, _) => (16..=19).contains(&length),
        (35, _) => (16..=19).contains(&length),
        (_, 2131 | 1800) => length == 15,
        (_, 2200..=2204) => (16..=19).contains(&length),
        (50 | 56..=58 | 63 | 67, _) => true,
        _ => false,
    };
    let score = if length < 13 { 0.6 } else { 0.9 };
    (issued && luhn(&digits) && digits.iter().any(|digit| *digit != digits[0])).then_some(score)
}

/// Countries of the IBAN register and the length of theirs.
#[rustfmt::skip]
const IBAN_LENGTHS: &[(&str, usize)] = &[
    ("AD", 24), ("AE", 23), ("AL", 28), ("AT", 20), ("AZ", 28), ("BA", 20), ("BE", 16), ("BG", 22), ("BH", 22),
    ("BI", 27), ("BR", 29), ("BY", 28), ("CH", 21), ("CR", 22), ("CY", 28), ("CZ", 24), ("DE", 22), ("DJ", 27),
    ("DK", 18), ("DO", 28), ("EE", 20), ("EG", 29), ("ES", 24), ("FI", 18), ("FK", 18), ("FO", 18), ("FR", 27),
    ("GB", 22), ("GE", 22), ("GI", 23), ("GL", 18), ("GR", 27), ("GT", 28), ("HN", 28), ("HR", 21), ("HU", 28),
    ("IE", 22), ("IL", 23), ("IQ", 23), ("IS", 26), ("IT", 27), ("JO", 30), ("KW", 30), ("KZ", 20), ("LB", 28),
    ("LC", 32), ("LI", 21), ("LT", 20), ("LU", 20), ("LV", 21), ("LY", 25), ("MC", 27), ("MD", 24), ("ME", 22),
    ("MK", 19), ("MN", 20), ("MR", 27), ("MT", 31), ("MU", 30), ("NI", 28), ("NL", 18), ("NO", 15), ("OM", 23),
    ("PK", 24), ("PL", 28), ("PS", 29), ("PT", 25), ("QA", 29), ("RO", 24), ("RS", 22), ("RU", 33), ("SA", 24),
    ("SC", 31), ("SD", 18), ("SE", 24), ("SI", 19), ("SK", 24), ("SM", 27), ("SO", 23), ("ST", 25), ("SV", 28),
    ("TL", 23), ("TN", 24), ("TR", 26), ("UA", 29), ("VA", 22), ("VG", 24), ("XK", 20), ("YE", 30),
];

fn iban(run: &Run<'_>) -> Option<f64> {
    let compact = run.compact;
    if compact.len() < 15 || !compact.is_ascii() || !run.is_evenly_separated() {
        return None;
    }
    let place = IBAN_LENGTHS.binary_search_by_key(&&compact[..2], |(country, _)| country).ok()?;
    if compact.len() != IBAN_LENGTHS[place].1 {
        return None;
    }
    let rest = compact[4..].chars().chain(compact[..4].chars()).try_fold(0_u32, |rest, letter| {
        let value = letter.to_digit(36)?;
        Some(if value < 10 { (rest * 10 + value) % 97 } else { (rest * 100 + value) % 97 })
    })?;
    (rest == 1).then_some(0.98)
}

/// The ten digits that count, and how sure the way of writing makes it.
fn swedish(run: &Run<'_>) -> Option<(Vec<u32>, f64)> {
    let digits = run.digits()?;
    let score = match run.shape {
        "999999-9999" | "999999+9999" => 0.9,
        "99999999-9999" => 0.95,
        "999999999999" | "99999999 9999" => 0.85,
        "9999999999" => 0.6,
        "999999 9999" => 0.5,
        _ => return None,
    };
    if digits.len() == 12 && !matches!(number(&digits[..2]), 18..=20) {
        return None;
    }
    let ten = digits[digits.len() - 10..].to_vec();
    luhn(&ten).then_some((ten, score))
}

/// Year (with its century, where it is written), month and day of a Swedish number.
fn swedish_date(run: &Run<'_>, ten: &[u32], day_shift: u32) -> bool {
    let year = match run.digits() {
        Some(digits) if digits.len() == 12 => number(&digits[..4]),
        _ => number(&ten[..2]),
    };
    number(&ten[4..6]).checked_sub(day_shift).is_some_and(|day| is_date(year, number(&ten[2..4]), day))
}

fn se_personnummer(run: &Run<'_>) -> Option<f64> {
    let (ten, score) = swedish(run)?;
    swedish_date(run, &ten, 0).then_some(score)
}

fn se_samordningsnummer(run: &Run<'_>) -> Option<f64> {
    let (ten, score) = swedish(run)?;
    swedish_date(run, &ten, 60).then_some(score)
}

fn se_organisationsnummer(run: &Run<'_>) -> Option<f64> {
    let (ten, _) = swedish(run)?;
    let score = match run.shape {
        "999999-9999" => 0.7,
        "9999999999" => 0.2,
        _ => return None,
    };
    (number(&ten[2..4]) >= 20 && matches!(ten[0], 1..=3 | 5..=9)).then_some(score)
}

fn us_ssn(run: &Run<'_>) -> Option<f64> {
    let score = match run.shape {
        "999-99-9999" => 0.85,
        "999 99 9999" => 0.4,
        "999999999" => 0.2,
        _ => return None,
    };
    let digits = run.digits()?;
    let (area, group, serial) = (number(&digits[..3]), number(&digits[3..5]), number(&digits[5..]));
    // Two numbers that stood in advertisements and were never anybody's.
    let advertised = matches!((area, group, serial), (78, 5, 1120) | (219, 9, 9999));
    (!matches!(area, 0 | 666 | 900..) && group != 0 && serial != 0 && !advertised).then_some(score)
}

fn uk_nino(run: &Run<'_>) -> Option<f64> {
    let letters = run.compact.as_bytes();
    if letters.len() != 9 || !run.is_evenly_separated() {
        return None;
    }
    let (prefix, suffix) = (&run.compact[..2], letters[8]);
    let forbidden = ["BG", "GB", "KN", "NK", "NT", "TN", "ZZ"].contains(&prefix);
    let first = letters[0].is_ascii_uppercase() && !b"DFIQUV".contains(&letters[0]);
    let second = letters[1].is_ascii_uppercase() && !b"DFIQUVO".contains(&letters[1]);
    let digits = letters[2..8].iter().all(u8::is_ascii_digit);
    (first && second && digits && !forbidden && (b'A'..=b'D').contains(&suffix)).then_some(0.8)
}

fn uk_nhs(run: &Run<'_>) -> Option<f64> {
    let score = match run.shape {
        "999 999 9999" | "999-999-9999" => 0.4,
        "9999999999" => 0.3,
        _ => return None,
    };
    let digits = run.digits()?;
    let check = (11 - weighted(&digits, &[10, 9, 8, 7, 6, 5, 4, 3, 2]) % 11) % 11;
    (check == digits[9]).then_some(score)
}

fn de_steuer_id(run: &Run<'_>) -> Option<f64> {
    let score = match run.shape {
        "99999999999" => 0.6,
        "99 999 999 999" => 0.75,
        _ => return None,
    };
    let digits = run.digits()?;
    let mut counts = [0; 10];
    digits[..10].iter().for_each(|digit| counts[*digit as usize] += 1);
    // Of the first ten, one digit stands twice or three times and all others at most once.
    let repeated: Vec<_> = counts.iter().filter(|count| **count > 1).collect();
    if digits[0] == 0 || repeated.len() != 1 || *repeated[0] > 3 {
        return None;
    }
    // ISO 7064, MOD 11,10.
    let product = digits[..10].iter().fold(10, |product, digit| {
        let sum = (digit + product) % 10;
        (if sum == 0 { 10 } else { sum }) * 2 % 11
    });
    ((11 - product) % 10 == digits[10]).then_some(score)
}

fn fr_nir(run: &Run<'_>) -> Option<f64> {
    let compact = run.compact;
    if compact.len() != 15
        || !compact.is_ascii()
        || !run.is_evenly_separated()
        || !compact.starts_with(['1', '2'])
    {
        return None;
    }
    // Corsica's departments count as 19 and 18.
    let body = compact[..13].replacen("2A", "19", usize::from(&compact[5..7] == "2A"));
    let body = body.replacen("2B", "18", usize::from(&compact[5..7] == "2B"));
    let body: u64 = body.parse().ok()?;
    let month: u32 = compact[3..5].parse().ok()?;
    let key: u64 = compact[13..].parse().ok()?;
    (matches!(month, 1..=12 | 20..=42 | 50..=99) && 97 - body % 97 == key).then_some(0.95)
}

const SPANISH_LETTERS: &[u8; 23] = b"TRWAGMYFPDXBNJZSQVHLCKE";

fn es_dni(run: &Run<'_>) -> Option<f64> {
    if !matches!(run.shape, "99999999A" | "99999999-A" | "99999999 A" | "99.999.999-A" | "99.999.999A") {
        return None;
    }
    let number: usize = run.compact[..8].parse().ok()?;
    (SPANISH_LETTERS[number % 23] == run.compact.as_bytes()[8]).then_some(0.75)
}

fn es_nie(run: &Run<'_>) -> Option<f64> {
    if !matches!(run.shape, "A9999999A" | "A-9999999-A" | "A9999999-A" | "A-9999999A") {
        return None;
    }
    let first = match run.compact.as_bytes()[0] {
        b'X' => 0,
        b'Y' => 1,
        b'Z' => 2,
        _ => return None,
    };
    let number: usize = run.compact[1..8].parse().ok()?;
    (SPANISH_LETTERS[(first * 10_000_000 + number) % 23] == run.compact.as_bytes()[8]).then_some(0.85)
}

fn it_codice_fiscale(run: &Run<'_>) -> Option<f64> {
    /// Values of letters and digits at odd places, from the decree of 23 December 1976.
    const ODD: [u32; 26] =
        [1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23];
    let letters = run.compact.as_bytes();
    if letters.len() != 16 || !run.is_evenly_separated() {
        return None;
    }
    for (place, letter) in letters.iter().enumerate() {
        let fits = match place {
            // Letters may stand for digits when two people would get the same code.
            6 | 7 | 9 | 10 | 12..=14 => letter.is_ascii_digit() || b"LMNPQRSTUV".contains(letter),
            8 => b"ABCDEHLMPRST".contains(letter),
            _ => letter.is_ascii_uppercase(),
        };
        if !fits {
            return None;
        }
    }
    let value = |letter: u8| u32::from(if letter.is_ascii_digit() { letter - b'0' } else { letter - b'A' });
    let sum: u32 = letters[..15]
        .iter()
        .enumerate()
        .map(|(place, letter)| if place % 2 == 0 { ODD[value(*letter) as usize] } else { value(*letter) })
        .sum();
    (sum % 26 == value(letters[15])).then_some(0.95)
}

fn nl_bsn(run: &Run<'_>) -> Option<f64> {
    let score = match run.shape {
        "999999999" | "999 999 999" => 0.2,
        "9999.99.999" | "9999 99 999" => 0.4,
        _ => return None,
    };
    let digits = run.digits()?;
    // The last digit counts minus one, which is ten in steps of eleven.
    let sum = weighted(&digits, &[9, 8, 7, 6, 5, 4, 3, 2, 10]);
    (sum.is_multiple_of(11) && sum != 0).then_some(score)
}

fn fi_hetu(run: &Run<'_>) -> Option<f64> {
    const CHECKS: &[u8; 31] = b"0123456789ABCDEFHJKLMNPRSTUVWXY";
    let written = run.text[run.start..run.end].to_ascii_uppercase();
    let letters = written.as_bytes();
    if letters.len() != 11 {
        return None;
    }
    let century = match letters[6] {
        b'+' => 1800,
        b'-' | b'U'..=b'Y' => 1900,
        b'A'..=b'F' => 2000,
        _ => return None,
    };
    let digits: Vec<u32> = written[..6]
        .chars()
        .chain(written.get(7..10)?.chars())
        .map(|letter| letter.to_digit(10))
        .collect::<Option<_>>()?;
    let date = is_date(century + number(&digits[4..6]), number(&digits[2..4]), number(&digits[..2]));
    let check = CHECKS[(number(&digits) % 31) as usize];
    (date && number(&digits[6..]) >= 2 && check == letters[10]).then_some(0.96)
}

fn no_fodselsnummer(run: &Run<'_>) -> Option<f64> {
    if !matches!(run.shape, "99999999999" | "999999 99999") {
        return None;
    }
    let digits = run.digits()?;
    let (mut day, mut month) = (number(&digits[..2]), number(&digits[2..4]));
    // Numbers for people who are not settled there add 40 to the day, those of hospitals 40 to the month.
    day -= if day > 40 { 40 } else { 0 };
    month -= if month > 40 { 40 } else { 0 };
    let first = (11 - weighted(&digits, &[3, 7, 6, 1, 8, 9, 4, 5, 2]) % 11) % 11;
    let second = (11 - weighted(&digits, &[5, 4, 3, 2, 7, 6, 5, 4, 3, 2]) % 11) % 11;
    (is_date(number(&digits[4..6]), month, day) && first == digits[9] && second == digits[10]).then_some(0.9)
}

fn dk_cpr(run: &Run<'_>) -> Option<f64> {
    // Since 2007 numbers are issued that fail the old check digit, so that only the date is left to check.
    let score = match run.shape {
        "999999-9999" => 0.6,
        "9999999999" | "999999 9999" => 0.2,
        _ => return None,
    };
    let digits = run.digits()?;
    is_date(number(&digits[4..6]), number(&digits[2..4]), number(&digits[..2])).then_some(score)
}

fn pl_pesel(run: &Run<'_>) -> Option<f64> {
    if run.shape != "99999999999" {
        return None;
    }
    let digits = run.digits()?;
    let month = number(&digits[2..4]);
    let century = [1900, 2000, 2100, 2200, 1800][(month / 20) as usize];
    let date = is_date(century + number(&digits[..2]), month % 20, number(&digits[4..6]));
    let check = (10 - weighted(&digits, &[1, 3, 7, 9, 1, 3, 7, 9, 1, 3]) % 10) % 10;
    (date && check == digits[10]).then_some(0.7)
}

const PHONE_WORDS: &[&str] = &[
    "tel",
    "phone",
    "mobil",
    "cell",
    "fax",
    "call",
    "ring",
    "sms",
    "whatsapp",
    "desk",
    "office",
    "kontor",
    "anruf",
    "rufnummer",
    "handy",
    "teléfono",
    "móvil",
    "celular",
    "numéro",
    "portable",
    "puhelin",
    "hotline",
    "nummer till",
    "answering at",
    "messages to",
    "dial",
    "contact",
    "reach me",
];

/// Lengths of numbers without the country's code, where the plan is narrow; elsewhere E.164 alone decides.
#[rustfmt::skip]
const COUNTRY_LENGTHS: &[(&str, usize, usize)] = &[
    ("1", 10, 10), ("7", 10, 10), ("20", 8, 10), ("27", 9, 9), ("30", 10, 10), ("31", 9, 9), ("32", 8, 9),
    ("33", 9, 9), ("34", 9, 9), ("36", 8, 9), ("39", 6, 11), ("41", 9, 9), ("44", 9, 10), ("45", 8, 8),
    ("46", 7, 10), ("47", 8, 8), ("48", 9, 9), ("49", 6, 12), ("52", 10, 10), ("55", 10, 11), ("61", 9, 9),
    ("81", 9, 10), ("90", 10, 10), ("91", 10, 10), ("351", 9, 9), ("358", 5, 12), ("372", 7, 8), ("420", 9, 9),
    ("421", 9, 9),
];

fn phone(run: &Run<'_>) -> Option<f64> {
    let compact = run.compact;
    if !compact.bytes().all(|byte| byte.is_ascii_digit()) || !(7..=17).contains(&compact.len()) {
        return None;
    }
    let before = &run.text[..run.start];
    let shape = run.shape;
    let opened = before.ends_with('(');
    let brackets_fit = shape.matches('(').count() + usize::from(opened) == shape.matches(')').count();
    let gaps = shape.split('9').filter(|gap| !gap.is_empty());
    let gaps_fit = gaps
        .clone()
        .all(|gap| matches!(gap, " " | "-" | "." | "/" | "(" | ")" | " (" | ") " | ")-" | "-(" | " - "));
    if shape.contains('+') || !brackets_fit && !before.ends_with("+(") || !gaps_fit {
        return None;
    }
    if before.ends_with('+') || before.ends_with("+(") {
        return international(compact).then_some(0.85);
    }
    if let Some(rest) = compact.strip_prefix("00") {
        return international(rest).then_some(if gaps.count() > 0 { 0.7 } else { 0.55 });
    }
    let area = compact.strip_prefix('1').filter(|rest| rest.len() == 10).unwrap_or(compact);
    let american = area.len() == 10 && area.as_bytes()[0] >= b'2' && area.as_bytes()[3] >= b'2';
    match shape {
        "999) 999-9999" | "999)999-9999" | "999-999-9999" | "999.999.9999" | "9-999-999-9999"
        | "9 999 999 9999" | "9 (999) 999-9999" | "9-(999)-999-9999"
            if american =>
        {
            return Some(0.75);
        }
        "999 999 9999" if american => return Some(0.5),
        _ => {}
    }
    // A trunk zero and groups: most national forms outside America.
    let trunk = compact.starts_with('0') && !compact.starts_with("00") && (9..=11).contains(&compact.len());
    if trunk && gaps.count() > 0 && !looks_like_date(shape) {
        return Some(0.6);
    }
    // Single digits in a row are a list of digits.
    let grouped = shape.split(|letter| letter != '9').skip(1).all(|group| group.len() != 1);
    ((7..=12).contains(&compact.len()) && grouped && !looks_like_date(shape)).then_some(0.2)
}

/// `2/16/1942`, `2024-01-02 10`: parts that fit a day, a month and a year.
fn looks_like_date(shape: &str) -> bool {
    let parts: Vec<usize> =
        shape.split(' ').next().unwrap_or(shape).split(['-', '.', '/']).map(str::len).collect();
    matches!(parts[..], [1 | 2, 1 | 2, 2 | 4] | [4, 1 | 2, 1 | 2])
}

fn international(digits: &str) -> bool {
    if !(8..=16).contains(&digits.len()) || digits.starts_with('0') {
        return false;
    }
    for length in 1..=3 {
        let place = COUNTRY_LENGTHS.iter().find(|(code, ..)| *code == &digits[..length]);
        if let Some((_, shortest, longest)) = place {
            // `+46 (0)8 …`: the trunk zero is written and not dialled.
            let national = digits[length..].strip_prefix('0').unwrap_or(&digits[length..]);
            return (*shortest..=*longest).contains(&national.len());
        }
    }
    digits.len() <= 15
}

/// A telephone number with its sign, opening bracket and extension.
pub(super) fn whole_phone(run: &Run<'_>) -> (usize, usize) {
    let before = &run.text[..run.start];
    let start = before.strip_suffix('(').unwrap_or(before);
    let start = start.strip_suffix('+').unwrap_or(start).len();
    let after = &run.text[run.end..];
    let extension = after
        .strip_prefix('x')
        .map(|digits| digits.bytes().take(6).take_while(u8::is_ascii_digit).count())
        .filter(|digits| *digits > 0);
    (start, run.end + extension.map_or(0, |digits| digits + 1))
}
