//! The commonest words of languages written in Latin and Cyrillic letters. They settle what trigrams of a short text
//! cannot: to those, `I am begging pardon` is Tagalog.

/// Words of one language found in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vote {
    /// ISO 639-1.
    pub code: &'static str,
    /// How many words of the text are among its commonest.
    pub words: usize,
}

/// True if the commonest words of this language are known here.
pub fn has_list(code: &str) -> bool {
    LISTS.iter().any(|(known, _)| *known == code)
}

/// One word in this many must be common before common words say anything: running text has three times as many, even
/// in languages that put endings where others have words.
const RUNNING_TEXT: usize = 15;

/// Languages by how many of their commonest words the text has, most first, then by code. Empty where they are too few
/// for running text; a language of which only single letters were seen is left out (`x`, `y` and `i` are in any program).
pub fn vote(text: &str) -> Vec<Vote> {
    let mut counts = vec![(0_usize, false); LISTS.len()];
    let mut all = 0;
    for word in text.split_whitespace() {
        all += 1;
        let is_long = word.chars().nth(1).is_some();
        if !is_long && word.chars().all(char::is_uppercase) && all > 1 {
            // `Pol V`, `plan B`: a name, not a preposition.
            continue;
        }
        let word = word.to_lowercase();
        let word = word.trim_matches(['\'', '’']);
        for ((count, has_long), (_, list)) in counts.iter_mut().zip(LISTS) {
            if list.contains(&word) {
                *count += 1;
                *has_long |= is_long;
            }
        }
    }
    let mut votes: Vec<Vote> = LISTS
        .iter()
        .zip(counts)
        .filter(|(_, (words, has_long))| *has_long && words * RUNNING_TEXT >= all)
        .map(|((code, _), (words, _))| Vote { code, words })
        .collect();
    votes.sort_by(|a, b| b.words.cmp(&a.words).then_with(|| a.code.cmp(b.code)));
    votes
}

/// Articles, pronouns, prepositions, conjunctions, question words and forms of "to be".
const LISTS: &[(&str, &[&str])] = &[
    (
        "bg",
        &[
            "и",
            "на",
            "за",
            "от",
            "се",
            "да",
            "не",
            "е",
            "са",
            "по",
            "че",
            "като",
            "до",
            "при",
            "със",
            "които",
            "който",
            "която",
            "това",
            "той",
            "беше",
            "какво",
            "кой",
            "ще",
        ],
    ),
    (
        "ca",
        &[
            "el", "la", "els", "les", "de", "del", "dels", "i", "que", "és", "amb", "per", "una", "un", "en",
            "al", "als", "va", "són", "com", "més", "aquest", "aquesta", "quin", "quina", "qui",
        ],
    ),
    (
        "cs",
        &[
            "a", "je", "se", "na", "že", "v", "to", "s", "do", "pro", "jako", "byl", "byla", "jsou", "který",
            "která", "které", "od", "po", "za", "ve", "by", "při", "ale", "jak", "kdo",
        ],
    ),
    (
        "da",
        &[
            "og", "i", "at", "det", "en", "den", "til", "er", "som", "på", "de", "med", "af", "for", "ikke",
            "der", "var", "et", "blev", "fra", "har", "hvad", "hvem", "hvor", "eller",
        ],
    ),
    (
        "de",
        &[
            "der", "die", "und", "in", "den", "von", "zu", "das", "mit", "sich", "des", "auf", "für", "ist",
            "im", "dem", "nicht", "ein", "eine", "als", "auch", "es", "an", "werden", "aus", "er", "hat",
            "dass", "sie", "nach", "wird", "bei", "einer", "um", "am", "sind", "noch", "wie", "einem",
            "über", "einen", "war", "wurde", "welche", "welcher", "welches", "was", "wer", "wann", "wo",
            "wir", "ich", "zur", "zum", "oder", "vor", "durch", "bis", "viele",
        ],
    ),
    (
        "en",
        &[
            "the", "of", "and", "to", "in", "is", "that", "for", "was", "on", "as", "with", "by", "are",
            "be", "at", "from", "this", "it", "an", "which", "or", "were", "not", "have", "has", "had",
            "what", "who", "how", "when", "where", "why", "did", "does", "do", "his", "their", "its", "but",
            "they", "you", "we", "can", "been", "a", "i", "am", "my", "your", "if", "than", "many", "much",
            "there",
        ],
    ),
    (
        "es",
        &[
            "de", "la", "que", "el", "en", "y", "a", "los", "del", "se", "las", "por", "un", "para", "con",
            "no", "una", "su", "al", "lo", "como", "más", "fue", "es", "son", "qué", "quién", "cuál",
            "cuándo", "dónde", "cómo", "cuántos", "cuántas", "está", "sus", "entre", "desde", "o",
        ],
    ),
    (
        "et",
        &[
            "ja", "on", "ei", "oli", "et", "see", "mis", "kui", "ta", "ka", "kes", "oma", "mille", "aga",
            "nii", "või", "siis", "selle", "olid", "eest", "kuid",
        ],
    ),
    (
        "fi",
        &[
            "ja", "on", "ei", "että", "oli", "se", "joka", "hän", "ovat", "kun", "mutta", "myös", "mitä",
            "kuin", "sen", "tai", "jotka", "kuka", "missä", "olivat", "voi", "mikä", "ne",
        ],
    ),
    (
        "fr",
        &[
            "de", "la", "le", "et", "les", "des", "en", "un", "du", "une", "que", "est", "pour", "qui",
            "dans", "par", "au", "il", "sur", "plus", "ne", "pas", "avec", "se", "ce", "sont", "a", "été",
            "ou", "quel", "quelle", "quand", "où", "comment", "cette", "aux", "son", "sa", "nous", "vous",
            "je", "l'", "d'",
        ],
    ),
    (
        "hr",
        &[
            "i", "je", "u", "na", "se", "da", "su", "za", "od", "koji", "koja", "koje", "što", "kao", "bio",
            "bila", "ne", "s", "iz", "ili", "ali", "te", "sa", "tko", "gdje",
        ],
    ),
    (
        "hu",
        &[
            "a", "az", "és", "hogy", "nem", "is", "egy", "volt", "meg", "de", "ez", "mint", "ki", "mi",
            "van", "vagy", "csak", "már", "azt", "melyik", "hol", "milyen", "ezt",
        ],
    ),
    (
        "id",
        &[
            "yang", "dan", "di", "dari", "dengan", "untuk", "pada", "ini", "itu", "adalah", "dalam", "ke",
            "tidak", "oleh", "sebagai", "apa", "siapa", "akan", "telah", "mereka", "juga",
        ],
    ),
    (
        "it",
        &[
            "di", "che", "il", "la", "e", "in", "per", "un", "del", "una", "è", "i", "con", "non", "della",
            "si", "le", "da", "al", "dei", "come", "gli", "sono", "alla", "nel", "più", "cosa", "chi",
            "quale", "quando", "dove", "lo", "anche", "fu", "delle", "nella", "o",
        ],
    ),
    (
        "lt",
        &[
            "ir", "yra", "kad", "su", "į", "iš", "buvo", "kaip", "tai", "bet", "ar", "nuo", "už", "ne",
            "per", "kas", "kuris", "kuri", "apie", "jis",
        ],
    ),
    (
        "lv",
        &[
            "un", "ir", "ar", "no", "par", "ka", "uz", "kas", "bija", "tika", "kā", "vai", "viņš", "arī",
            "pēc", "bet", "lai", "tas", "kur",
        ],
    ),
    (
        "nl",
        &[
            "de", "het", "een", "en", "van", "in", "is", "dat", "op", "te", "met", "voor", "zijn", "niet",
            "aan", "er", "om", "ook", "als", "was", "door", "bij", "wat", "wie", "hoe", "waar", "wordt",
            "werd", "naar", "uit", "of", "tot", "deze", "hij", "ze", "wij", "ik",
        ],
    ),
    (
        "no",
        &[
            "og", "i", "det", "en", "er", "til", "som", "på", "å", "de", "med", "av", "for", "ikke", "var",
            "et", "ble", "fra", "har", "hva", "hvem", "hvor", "eller", "den", "om",
        ],
    ),
    (
        "pl",
        &[
            "i", "w", "na", "z", "się", "do", "nie", "że", "jest", "to", "o", "jak", "przez", "od", "po",
            "dla", "są", "był", "była", "było", "który", "która", "które", "za", "ze", "co", "kto", "gdzie",
            "oraz",
        ],
    ),
    (
        "pt",
        &[
            "de", "que", "e", "o", "a", "do", "da", "em", "um", "para", "com", "não", "uma", "os", "no",
            "se", "na", "por", "mais", "as", "dos", "como", "foi", "ao", "das", "é", "são", "qual", "quem",
            "quando", "onde", "pelo", "pela", "ou", "está",
        ],
    ),
    (
        "ro",
        &[
            "și", "în", "de", "la", "a", "cu", "pe", "care", "este", "din", "nu", "o", "un", "că", "mai",
            "pentru", "ce", "au", "fost", "sunt", "se", "al", "ale", "sau", "cine", "unde",
        ],
    ),
    (
        "ru",
        &[
            "и",
            "в",
            "не",
            "на",
            "что",
            "с",
            "по",
            "как",
            "из",
            "к",
            "для",
            "от",
            "был",
            "была",
            "было",
            "были",
            "это",
            "его",
            "который",
            "которые",
            "которая",
            "или",
            "кто",
            "где",
            "когда",
            "какой",
            "какие",
            "сколько",
            "у",
            "о",
            "а",
            "он",
            "она",
            "они",
            "за",
            "до",
            "при",
            "во",
            "со",
            "об",
            "также",
            "после",
            "чем",
            "же",
            "какая",
            "какое",
            "каком",
            "почему",
        ],
    ),
    (
        "sk",
        &[
            "a", "je", "sa", "na", "že", "v", "to", "s", "do", "pre", "ako", "bol", "bola", "sú", "ktorý",
            "ktorá", "ktoré", "od", "po", "za", "vo", "by", "pri", "ale", "kto", "čo",
        ],
    ),
    (
        "sl",
        &[
            "in", "je", "na", "se", "da", "za", "so", "ki", "v", "z", "pa", "kot", "tudi", "bil", "bila",
            "ne", "od", "po", "pri", "ali", "kaj", "kdo", "kje",
        ],
    ),
    (
        "sr",
        &[
            "и", "је", "у", "на", "се", "да", "су", "за", "од", "који", "која", "које", "као", "био", "била",
            "не", "са", "из", "или", "али", "што", "шта", "ко",
        ],
    ),
    (
        "sv",
        &[
            "och", "i", "att", "det", "en", "som", "på", "är", "av", "för", "med", "den", "till", "var",
            "de", "inte", "om", "ett", "från", "har", "men", "hade", "vad", "vem", "hur", "när", "vilken",
            "vilket", "vilka", "där", "han", "eller", "blev", "kan", "många", "sig", "hon", "vid", "under",
            "detta",
        ],
    ),
    (
        "tr",
        &[
            "ve", "bir", "bu", "için", "ile", "da", "de", "olarak", "olan", "çok", "daha", "ne", "kadar",
            "gibi", "en", "değil", "var", "kim", "hangi", "nasıl", "nerede", "ya", "sonra",
        ],
    ),
    (
        "uk",
        &[
            "і", "в", "не", "на", "що", "з", "та", "у", "до", "як", "за", "від", "для", "його", "був",
            "була", "були", "це", "який", "яка", "які", "або", "хто", "де", "коли", "й", "є",
        ],
    ),
    (
        "vi",
        &[
            "và", "của", "là", "có", "được", "trong", "cho", "các", "một", "với", "những", "không", "này",
            "người", "đã", "từ", "ở", "vào", "gì", "ai",
        ],
    ),
];
