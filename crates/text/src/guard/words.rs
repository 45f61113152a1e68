//! The words that injections are made of, in many languages, and the classes they belong to.
//!
//! A star stands for any ending. Words are written as people write them and folded like the text
//! they are compared with.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::fold::fold_words;

pub(super) type Classes = u32;

/// Ignore, disregard, drop.
pub(super) const IGNORE: Classes = 1;
/// Forget: an order only where nobody is said to do it.
pub(super) const FORGET: Classes = 1 << 1;
/// Previous, above, earlier.
pub(super) const PRIOR: Classes = 1 << 2;
/// All, any, every.
pub(super) const ALL: Classes = 1 << 3;
/// Everything, as a word of its own.
pub(super) const EVERYTHING: Classes = 1 << 4;
/// Instructions, prompt, rules.
pub(super) const ORDERS: Classes = 1 << 5;
/// Information, text, documents, tasks.
pub(super) const MATERIAL: Classes = 1 << 6;
/// Show, print, repeat.
pub(super) const REVEAL: Classes = 1 << 7;
/// Your.
pub(super) const YOUR: Classes = 1 << 8;
/// System, initial, hidden: what an order of somebody else is.
pub(super) const HIDDEN: Classes = 1 << 9;
/// New.
pub(super) const NEW: Classes = 1 << 10;
/// Task.
pub(super) const TASK: Classes = 1 << 11;
/// Not, never.
pub(super) const NOT: Classes = 1 << 12;
/// I, we, they; to: what follows is no order.
pub(super) const SUBJECT: Classes = 1 << 13;
/// What, which.
pub(super) const WHAT: Classes = 1 << 14;
/// Focus, follow.
pub(super) const FOCUS: Classes = 1 << 15;
/// Prompt, instructions: what a model was told, in any language.
pub(super) const PROMPT: Classes = 1 << 16;

const LEXICON: &[(Classes, &str)] = &[
    (
        PROMPT,
        "prompt prompts prompten prompter prompttext* prompt_text systemprompt* instruction* instruktion* instrukti* \
         instruccion* instrução instruções istruzion* anweisung* systemanweisung* instructies consigne* instrukcj* \
         instrukce pokyny инструкци* ohjeet ohjeesi talimatlar* preprompt programming directive*",
    ),
    // English
    (
        IGNORE,
        "ignore ignoring disregard* neglect override overrule bypass abandon drop discard erase unlearn dismiss",
    ),
    (FORGET, "forget"),
    (
        PRIOR,
        "previous previously prior preceding above earlier before foregoing past former given far original",
    ),
    (ALL, "all any every each full entire complete exact"),
    (EVERYTHING, "everything all above anything"),
    (
        ORDERS,
        "instruction* prompt prompts directive* directions rules guideline* command commands orders programming restrictions policies policy training safeguards",
    ),
    (
        MATERIAL,
        "information context conversation* text texts document* article* artikels task tasks assignment* messages content contents thoughts said told discussed input request requests question",
    ),
    (
        REVEAL,
        "show print reveal repeat output display expose leak disclose recite dump tell write echo copy list share summarize",
    ),
    (YOUR, "your ur"),
    (HIDDEN, "system initial hidden secret original internal developer"),
    (NEW, "new"),
    (TASK, "task tasks instruction* assignment directive"),
    (NOT, "not never dont don't doesn't didnt didn't cannot can't won't shouldn't without"),
    (SUBJECT, "i we they he she it who people users to will would might may often sometimes cant"),
    (WHAT, "what whats what's which"),
    (FOCUS, "focus concentrate follow follows followed"),
    // Swedish, Norwegian, Danish
    (IGNORE, "ignorera ignorer strunta bortse åsidosätt hoppa kringgå overse tilsidesæt se-bort"),
    (FORGET, "glöm glem"),
    (
        PRIOR,
        "tidigare föregående ovanstående ovan innan dittills forrige tidligere foregående ovenstående ovenfor foregåande",
    ),
    (ALL, "alla allt samtliga alle all"),
    (EVERYTHING, "allt alt allting"),
    (
        ORDERS,
        "instruktion* anvisning* regler* prompten prompter direktiv* föreskrifter systemprompt* order befallningar ordrer retningslinjer riktlinjer",
    ),
    (MATERIAL, "information* texten uppgift* sagt sammanhang* dokument* oppgave* opgave* kontekst*"),
    (REVEAL, "visa skriv avslöja upprepa återge berätta vis skriv avslør gentag gjenta"),
    (YOUR, "din dina ditt dine dit"),
    (HIDDEN, "systemets ursprungliga dolda hemliga opprinnelige oprindelige hemmelige skjulte"),
    (NEW, "ny nya nytt nye"),
    (TASK, "uppgift uppgifter oppgave opgave"),
    (NOT, "inte aldrig ikke aldri aldrig ej"),
    (SUBJECT, "jag vi de man att jeg at"),
    (WHAT, "vad vilka hva hvad"),
    (FOCUS, "fokusera koncentrera följ fokuser følg"),
    // German, Dutch
    (IGNORE, "ignorier* missacht* verwirf übergehe umgehe negeer negeren"),
    (FORGET, "vergiss vergesst vergessen vergeet"),
    (
        PRIOR,
        "vorherig* vorangehend* vorangegangen* bisherig* obig* davor vorher zuvor oben früher* vorig* bovenstaand* eerder* voorgaand* voorafgaand*",
    ),
    (ALL, "alle allen aller alles sämtliche* jegliche* gesamt* vollständig*"),
    (EVERYTHING, "alles"),
    (
        ORDERS,
        "anweisung* instruktion* befehl* regeln vorgaben richtlinien aufträge systemanweisung* prompt-text* instructies opdrachten regels richtlijnen",
    ),
    (
        MATERIAL,
        "informationen angaben aufgabe* aufgaben ausführungen kontext text* dokument* artikel* gesagte* besprochen informatie",
    ),
    (REVEAL, "zeig* verrate offenbare wiederhole gib drucke nenne ausgeben toon herhaal onthul"),
    (YOUR, "dein* ihre* jouw je uw"),
    (HIDDEN, "ursprünglich* geheim* versteckt* interne* oorspronkelijke verborgen"),
    (NEW, "neue neuen neuer neues weitere nieuwe"),
    (TASK, "aufgabe aufgaben anweisung anweisungen befehl befehle taak opdracht"),
    (NOT, "nicht nie niemals kein* niet nooit"),
    (SUBJECT, "ich wir sie man zu ik wij"),
    (WHAT, "was welche* wat welke"),
    (FOCUS, "konzentrier* folge folgen folgende* focus"),
    // French
    (IGNORE, "ignorez ignore* néglige* contourne*"),
    (FORGET, "oublie oubliez"),
    (PRIOR, "précédent* antérieur* ci-dessus avant dessus"),
    (ALL, "tout toute tous toutes"),
    (EVERYTHING, "tout"),
    (ORDERS, "consigne* directives règles"),
    (MATERIAL, "informations contexte tâches dit texte"),
    (REVEAL, "montre* affiche* révèle* révélez répète* répétez imprime* donne* dis"),
    (YOUR, "votre vos ton tes ta"),
    (HIDDEN, "système initial* caché* secrètes complet complète"),
    (NEW, "nouvelle nouvelles nouveau"),
    (TASK, "tâche tâches mission"),
    (NOT, "ne n'oublie n'oubliez pas jamais"),
    (WHAT, "quelles quel quelle quels"),
    // Spanish, Portuguese, Italian
    (
        IGNORE,
        "ignora ignorar ignoren ignoras ignorad ignorate ignorare descarta omite desconsidere desconsidera trascura",
    ),
    (FORGET, "olvida olvide olvidar olviden olvídate esqueça esquece esqueca dimentica dimenticate scorda"),
    (PRIOR, "anterior* previas previos previa antes arriba acima precedente* sopra"),
    (ALL, "todo toda todos todas tutto tutti tutte tudo qualquer"),
    (EVERYTHING, "todo tudo tutto"),
    (
        ORDERS,
        "instruccion* instrucciones instrução instruções istruzion* órdenes reglas regras regole comandos indicaciones diretrizes direttive",
    ),
    (MATERIAL, "información informação informazioni contexto contesto tareas dicho digo sabes tarefas"),
    (
        REVEAL,
        "muestra muestre muéstrame imprime revela revele repite repita mostra mostre mostrami mostrate rivela ripeti stampa diga di",
    ),
    (YOUR, "tu tus su sus teu teus tua tuas seu seus suas tuo tuoi tue vostre"),
    (HIDDEN, "sistema inicial iniciales oculto ocultas secretas iniciais iniziale iniziali nascost*"),
    (NEW, "nueva nuevas nuevo nova novas nuova nuove"),
    (TASK, "tarea tareas tarefa compito"),
    (NOT, "nunca jamás não non nao"),
    (WHAT, "cuáles cuál quais qual quali"),
    // Polish, Czech, Croatian, Serbian
    (IGNORE, "zignoruj ignoruj pomiń ignoriraj zanemari ignorujte"),
    (FORGET, "zapomnij zaboravi zaboravite zapomeň"),
    (PRIOR, "poprzedni* wcześniejsz* powyższ* prethodn* dosadašnj* předchozí"),
    (ALL, "wszystkie wszystko sve svi všechny"),
    (EVERYTHING, "wszystko sve vše"),
    (ORDERS, "instrukcj* instrukcije polecenia poleceń zasady upute naredbe pokyny instrukce"),
    (REVEAL, "pokaż wyświetl ujawnij prikaži otkrij"),
    (YOUR, "twoje twój swoje swój tvoj* svoj*"),
    (NOT, "nie nemoj ne"),
    // Russian, Ukrainian
    (IGNORE, "игнорируй игнорируйте проигнорируй* ігноруй*"),
    (FORGET, "забудь забудьте"),
    (PRIOR, "предыдущ* прежн* выше ранее попередн*"),
    (ALL, "все всё всех всі"),
    (EVERYTHING, "все всё"),
    (ORDERS, "инструкци* указани* правила команды інструкц*"),
    (REVEAL, "покажи покажите выведи раскрой повтори"),
    (YOUR, "твои твой свои ваши ваш"),
    (HIDDEN, "системн* начальн* скрыт*"),
    (NOT, "не никогда"),
    // Finnish, Turkish
    (IGNORE, "ohita sivuuta jätä yoksay görmezden"),
    (FORGET, "unohda unut"),
    (PRIOR, "aiemmat aiempia edelliset edellisiä yllä önceki yukarıdaki"),
    (ALL, "kaikki tüm bütün"),
    (EVERYTHING, "kaikki"),
    (ORDERS, "ohjeet ohjeita ohjeesi säännöt talimatlar* komutlar*"),
    (REVEAL, "näytä tulosta paljasta göster"),
    (NOT, "älä"),
];

struct Lexicon {
    whole: HashMap<String, Classes>,
    /// Beginnings of words, by their first three bytes.
    beginnings: HashMap<[u8; 3], Vec<(String, Classes)>>,
}

static COMPILED: LazyLock<Lexicon> = LazyLock::new(|| {
    let mut lexicon = Lexicon { whole: HashMap::new(), beginnings: HashMap::new() };
    for (classes, words) in LEXICON {
        for word in words.split_whitespace() {
            let word = fold_words(word);
            match word.strip_suffix('*') {
                Some(beginning) => {
                    if let Some(key) = key(beginning) {
                        lexicon.beginnings.entry(key).or_default().push((beginning.to_owned(), *classes));
                    }
                }
                None => *lexicon.whole.entry(word).or_default() |= classes,
            }
        }
    }
    lexicon
});

fn key(word: &str) -> Option<[u8; 3]> {
    word.as_bytes().first_chunk().copied()
}

/// The classes of a folded word, none for most.
pub(super) fn classes(word: &str) -> Classes {
    let lexicon = &*COMPILED;
    let mut classes = lexicon.whole.get(word).copied().unwrap_or_default();
    if let Some(beginnings) = key(word).and_then(|key| lexicon.beginnings.get(&key)) {
        for (beginning, more) in beginnings {
            if word.starts_with(beginning.as_str()) {
                classes |= more;
            }
        }
    }
    classes
}
