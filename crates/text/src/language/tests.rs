//! Tests of `language` in its own words: small cases, and properties over made-up input.

use super::*;

#[track_caller]
fn check(text: &str, expected: Option<&str>) {
    assert_eq!(detect(text).map(|detected| detected.code), expected, "{text}");
}

#[test]
fn running_text_is_told() {
    check("The invoice is sent to you with the first delivery of the month.", Some("en"));
    check("La factura se envía con la primera entrega del mes.", Some("es"));
    check("La facture est envoyée avec la première livraison du mois.", Some("fr"));
    check("La fattura viene inviata con la prima consegna del mese, e non è la sola.", Some("it"));
    check("A fatura é enviada com a primeira entrega do mês.", Some("pt"));
    check("De factuur wordt met de eerste levering van de maand verstuurd.", Some("nl"));
    check("Fakturan skickas med den första leveransen i månaden, och det är allt.", Some("sv"));
    check("Faktura jest wysyłana z pierwszą dostawą, która jest w tym miesiącu.", Some("pl"));
    check("Fatura, ayın ilk teslimatı ile birlikte gönderilir ve bu bir kuraldır.", Some("tr"));
    check("Счёт отправляется вместе с первой поставкой, которая была в этом месяце.", Some("ru"));
    check("Рахунок надсилається разом з першою поставкою, яка була у цьому місяці.", Some("uk"));
}

#[test]
fn scripts_of_one_language_decide() {
    check("发票随本月第一批货物寄出。", Some("zh"));
    check("請求書は今月最初の納品と一緒に送られます。", Some("ja"));
    check("カタカナ テキスト", Some("ja"));
    check("청구서는 첫 배송과 함께 발송됩니다.", Some("ko"));
    check("ใบแจ้งหนี้จะถูกส่งพร้อมกับการจัดส่งครั้งแรก", Some("th"));
    check("Το τιμολόγιο αποστέλλεται με την πρώτη παράδοση.", Some("el"));
    check("चालान महीने की पहली डिलीवरी के साथ भेजा जाता है।", Some("hi"));
    check("ترسل الفاتورة مع أول شحنة في الشهر إلى جميع العملاء", Some("ar"));
    check("החשבונית נשלחת עם המשלוח הראשון של החודש", Some("he"));
}

#[test]
fn too_little_is_not_guessed() {
    for text in [
        "",
        "  \n",
        "42",
        "ok",
        "SELECT 1;",
        "Zurich",
        "Dr. Müller",
        "😀😀😀",
        "猫",
        "README.md",
        "foo bar baz qux",
    ] {
        check(text, None);
    }
}

#[test]
fn the_commonest_words_correct_trigrams() {
    // Trigrams alone say Tagalog.
    check("I am begging pardon", Some("en"));
    // A capital letter by itself is a name, not the Slovene word for "in".
    check("DRD1 proteins enable Pol V transcription in vivo and the cell is the same", Some("en"));
}

#[test]
fn letters_tell_arabic_from_persian() {
    check("متى تم نشر بعض أفضل أعمال لوثر؟", Some("ar"));
    check("بهترین آثار لوتر کی منتشر شده است؟", Some("fa"));
}

#[test]
fn names_in_another_script_do_not_decide() {
    check("2016年，NFL 的 Super Bowl 50 在加利福尼亚州圣克拉拉的李维斯体育场举行", Some("zh"));
    check("The word 東京 is written with two characters and is the name of the capital.", Some("en"));
}

#[test]
fn code_and_digits_have_no_language() {
    check("fn main() { let x = vec![1, 2, 3]; x.iter().map(|y| y + 1).collect::<Vec<_>>(); }", None);
    check(&"0x1f 42 3.14 ".repeat(400), None);
}

#[test]
fn long_texts_are_sampled_at_characters() {
    let text = "Счёт отправляется вместе с первой поставкой, которая была в этом месяце. ".repeat(2_000);
    check(&text, Some("ru"));
    // A licence in English at the start does not outweigh the rest.
    let mixed = format!(
        "{}{}",
        "This text is free for all of you and it was made in the open. ".repeat(10),
        "Die Rechnung wird mit der ersten Lieferung des Monats verschickt, und das ist auch gut. "
            .repeat(200)
    );
    check(&mixed, Some("de"));
}

#[test]
fn what_two_languages_could_say_is_not_guessed() {
    // Every common word in it is Spanish as well as Italian.
    check("La fattura viene inviata con la prima consegna del mese.", None);
}
