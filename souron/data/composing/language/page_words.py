"""Wordings for requests of page parts, in English and Japanese, and the vocabulary to fill in.

A wording is a text with fields: {noun} the part's name, {colour} an adjective, {shade} the colour's
name, {n} and {m} numbers, {text} one label, {texts} several, {fields} several with the word for a
field, {press} a button's label. The last one or the last few of each list are used in the test
only.
"""

HELD_FRAMES, HELD_WORDS = 2, 0.2  # wordings of a request; share of the label vocabulary

NUMBERS = {
    "en": ("one", "two", "three", "four", "five", "six", "seven", "eight"),
    "ja": ("一つ", "二つ", "三つ", "四つ", "五つ", "六つ", "七つ", "八つ"),
}
KANJI = ("一", "二", "三", "四", "五", "六", "七", "八")
NAMES = ("red", "blue", "green", "orange", "purple", "pink", "brown", "grey", "black", "yellow")
Shades = dict[str, tuple[tuple[str, ...], str]]  # colour -> (adjectives, its name)
COLOURS: dict[str, Shades] = {
    "en": {name: ((name,), name) for name in NAMES},
    "ja": {
        "red": (("赤い", "赤の", "赤色の"), "赤"),
        "blue": (("青い", "青の", "青色の"), "青"),
        "green": (("緑の", "緑色の"), "緑"),
        "orange": (("オレンジの", "オレンジ色の"), "オレンジ"),
        "purple": (("紫の", "紫色の"), "紫"),
        "pink": (("ピンクの", "ピンク色の"), "ピンク"),
        "brown": (("茶色い", "茶色の"), "茶色"),
        "grey": (("灰色の", "グレーの"), "灰色"),
        "black": (("黒い", "黒の", "黒色の"), "黒"),
        "yellow": (("黄色い", "黄色の"), "黄色"),
    },
}
NOUNS = {
    "en": {
        "heading": ("heading", "title", "headline", "big heading", "page heading"),
        "text": ("paragraph", "text", "paragraph of text", "block of text", "text block"),
        "menu": ("menu", "navigation bar", "navigation", "nav bar", "navigation menu"),
        "list": ("list", "bulleted list", "bullet list", "list of points"),
        "numbered": ("numbered list", "ordered list", "list with numbers"),
        "table": ("table", "data table", "table of data"),
        "form": ("form", "contact form", "sign-up form", "input form"),
        "button": ("button", "push button", "big button"),
        "picture": ("picture", "image", "photo", "picture placeholder", "placeholder image"),
        "cards": ("cards", "info cards", "boxes", "info boxes"),
        "quote": ("quote", "quotation", "block quote", "quoted text"),
        "search": ("search box", "search field", "search bar", "field to search"),
        "footer": ("footer", "page footer", "footer line", "footer bar"),
    },
    "ja": {
        "heading": ("見出し", "タイトル", "表題", "大きな見出し", "ページの見出し"),
        "text": ("段落", "文章", "本文", "文章の段落"),
        "menu": ("メニュー", "ナビゲーション", "ナビゲーションバー", "ナビゲーションのメニュー"),
        "list": ("リスト", "箇条書き", "箇条書きのリスト", "一覧"),
        "numbered": ("番号付きリスト", "番号付きの箇条書き", "番号のあるリスト"),
        "table": ("表", "テーブル", "データの表"),
        "form": ("フォーム", "入力フォーム", "問い合わせフォーム", "入力用フォーム"),
        "button": ("ボタン", "押しボタン", "大きなボタン"),
        "picture": ("画像", "写真", "絵", "画像の枠", "写真の枠"),
        "cards": ("カード", "情報カード", "情報のカード"),
        "quote": ("引用", "引用文", "引用の枠"),
        "search": ("検索欄", "検索ボックス", "検索バー", "検索の欄"),
        "footer": ("フッター", "ページのフッター", "フッターの行", "フッターバー"),
    },
}
COLOURED = {  # ways to combine a noun with its colour
    "en": ("{colour} {noun}", "{noun} in {colour}", "{noun} that is {colour}", "{noun} of {colour} colour"),
    "ja": ("{colour}{noun}", "色が{shade}の{noun}", "{shade}色をした{noun}"),
}
WORDINGS = {  # of a noun that may have a colour
    "en": {
        "plain": ("{noun}",),
        "text": ('{noun} that says {text}', '{noun} saying {text}', '{noun} with the text {text}',
                 '{noun} {text}', '{noun} labelled {text}', '{noun}: {text}',
                 '{noun} that has the text {text}'),
        "picture": ("{noun} of {text}", "{noun} showing {text}", "{noun} with {text}",
                    "{noun} that shows {text}"),
        "paragraphs": ("{n} paragraphs", "{n} paragraphs of text", "{n} text blocks"),
        "menu n": ("{noun} with {n} links", "{noun} of {n} links", "{noun} that has {n} links",
                   "{noun} with {n} entries", "{n}-link {noun}", "{noun} that has {n} entries"),
        "menu": ("{noun} with links to {texts}", "{noun} with the links {texts}",
                 "{noun} with {texts}", "{noun}: {texts}", "{noun} that has {texts}",
                 "{noun} that has links to {texts}"),
        "list n": ("{noun} of {n} items", "{noun} with {n} items", "{n}-item {noun}",
                   "{noun} with {n} entries", "{noun} that has {n} items"),
        "list": ("{noun} of {texts}", "{noun} with {texts}", "{noun}: {texts}",
                 "{noun} with the items {texts}", "{noun} that has the items {texts}"),
        "table n": ("{noun} with {n} rows and {m} columns", "{n} by {m} {noun}",
                    "{noun} of {n} rows and {m} columns", "{noun} with {m} columns and {n} rows",
                    "{noun} that has {n} rows and {m} columns"),
        "table": ("{noun} with {n} rows and the columns {texts}",
                  "{noun} of {n} rows with the columns {texts}", "{n}-row {noun} with {texts}",
                  "{n}-row {noun} with the columns {texts}"),
        "form n": ("{noun} with {n} fields", "{noun} of {n} fields", "{n}-field {noun}",
                   "{noun} that has {n} fields"),
        "form": ("{noun} with fields for {texts}", "{noun} asking for {texts}",
                 "{noun} with the fields {texts}", "{noun} for {texts}",
                 "{noun} with {fields}", "{noun} that has {fields}",
                 "{noun} that has fields for {texts}"),
        "press": ("{form} and a {button} that says {press}", "{form} and a {press} {button}",
                  "{form} and a {button} saying {press}", "{form} plus a {button} {press}",
                  "{form} plus a {button} that says {press}"),
        "press plain": ("{form} and a {button}", "{form} plus a {button}",
                        "{form} which has a {button}"),
        "cards n": ("{n} {noun}", "a row of {n} {noun}", "a group of {n} {noun}"),
        "cards": ("{noun} for {texts}", "{noun}: {texts}", "{noun} called {texts}",
                  "a row of {noun} for {texts}"),
    },
    "ja": {
        "plain": ("{noun}",),
        "text": ("{text}という{noun}", "{text}と書かれた{noun}", "{text}の{noun}", "{noun}{text}",
                 "{noun}（{text}）", "{text}という文字の{noun}"),
        "picture": ("{text}の{noun}", "{text}が写った{noun}", "{text}を見せる{noun}",
                    "{text}の写った{noun}"),
        "paragraphs": ("{n}の段落", "段落{n}", "{n}の文章"),
        "menu n": ("リンクが{n}ある{noun}", "リンク{n}の{noun}", "{n}のリンクがある{noun}",
                   "項目が{n}ある{noun}", "リンクを{n}もつ{noun}"),
        "menu": ("{texts}のリンクがある{noun}", "{texts}へのリンクがある{noun}", "{texts}の{noun}",
                 "{noun}（{texts}）", "{texts}へのリンクをもつ{noun}"),
        "list n": ("項目が{n}ある{noun}", "項目{n}の{noun}", "{n}の項目の{noun}",
                   "項目を{n}もつ{noun}"),
        "list": ("{texts}の{noun}", "{texts}という項目の{noun}", "{noun}（{texts}）",
                 "{texts}の項目がある{noun}"),
        "table n": ("{n}行{m}列の{noun}", "{m}列{n}行の{noun}", "行が{n}行で列が{m}列の{noun}",
                    "{n}行と{m}列の{noun}"),
        "table": ("{texts}の列がある{n}行の{noun}", "列が{texts}で{n}行の{noun}",
                  "{n}行で列が{texts}の{noun}"),
        "form n": ("欄が{n}ある{noun}", "入力欄{n}の{noun}", "{n}の欄がある{noun}",
                   "欄を{n}もつ{noun}"),
        "form": ("{texts}の欄がある{noun}", "{texts}を入力する{noun}", "{texts}の入力欄の{noun}",
                 "{noun}（{texts}）", "{fields}のある{noun}", "{texts}の入力欄がある{noun}"),
        "press": ("{press}という{button}付きの{form}", "{press}と書かれた{button}の付いた{form}",
                  "{press}の{button}がある{form}"),
        "press plain": ("{button}付きの{form}", "{button}の付いた{form}", "{button}がある{form}"),
        "cards n": ("{n}の{noun}", "{noun}{n}", "{noun}を{n}"),
        "cards": ("{texts}の{noun}", "{noun}（{texts}）", "{texts}という{noun}"),
    },
}  # fmt: skip
FRAMES = {
    "en": ("a page with {parts}", "{parts}", "Make a page with {parts}.",
           "I need a web page that has {parts}", "Please build me a page with {parts}.",
           "page: {parts}", "Create a site which has {parts}.", "We want a page. It has {parts}.",
           "Can you make a web page with {parts}?", "Write an HTML page that has {parts}.",
           "Build a page that has {parts}.", "I want {parts} on a page."),
    "ja": ("{parts}のあるページ", "{parts}", "{parts}があるページを作ってください。",
           "{parts}を置いたページ", "{parts}のあるウェブページを作って", "ページ：{parts}",
           "ページを作ってください。内容は{parts}です。", "{parts}をもつページがほしい",
           "{parts}のHTMLページをお願いします。", "次の内容のページを作成：{parts}",
           "{parts}をもつウェブページを作ってください。", "{parts}のページがほしいです。"),
}  # fmt: skip
JOINS = {  # between two parts: (between, before the last)
    "en": (
        (", ", " and "),
        (", ", ", and "),
        (", then ", " and finally "),
        ("; ", "; "),
        (" and ", " and "),
        (", ", ", then "),
        ("\n- ", "\n- "),
    ),
    "ja": (
        ("と", "と"),
        ("、", "、"),
        ("、", "と"),
        ("、次に", "、最後に"),
        ("、それから", "、"),
        ("、", "、そして"),
        ("\n・", "\n・"),
    ),
}
ABOVE = {  # two parts, the first above the second
    "en": ("{b} below {a}", "{a} above {b}", "{b} under {a}"),
    "ja": ("{a}の下に{b}", "{b}の上に{a}", "{a}、その下に{b}"),
}
QUOTES = {"en": ('"{}"', "'{}'", "“{}”"), "ja": ("「{}」", "『{}』", "“{}”")}
SERIES = {  # (between, before the last)
    "en": ((", ", " and "), (", ", ", and "), (", ", ", ")),
    "ja": (("、", "、"), ("と", "と"), ("・", "・"), ("、", "と")),
}

TITLES = {
    "en": (("Our", "The", "My", "Your", "Summer", "Winter", "Little", "Happy", "Quiet", "Modern",
            "Green", "Open", "City", "Village", "River", "Family", "Night", "Spring"),
           ("Garden", "Clinic", "Library", "Bakery", "School", "Museum", "Hospital", "Kitchen",
            "Studio", "Market", "Club", "Theatre", "Workshop", "Choir", "Farm", "Station",
            "Laboratory", "Festival", "Orchard", "Harbour")),
    "ja": (("私たちの", "町の", "夏の", "冬の", "小さな", "静かな", "春の", "森の", "海辺の",
            "夜の",
            "みんなの", "駅前の", "新しい", "古い"),
           ("庭", "診療所", "図書館", "パン屋", "学校", "美術館", "病院", "台所", "工房", "市場",
            "クラブ", "劇場", "合唱団", "牧場", "研究室", "祭り", "果樹園", "港")),
}  # fmt: skip
LINKS = {
    "en": ("Home", "Shop", "Contact", "News", "Blog", "Prices", "Team", "Jobs", "Help", "Events",
           "Gallery", "Login", "Courses", "Opening hours", "About us", "Research", "Patients",
           "Staff", "Maps", "Downloads", "Press", "Archive", "Tickets", "Recipes"),
    "ja": ("ホーム", "店舗", "連絡先", "お知らせ", "ブログ", "料金", "スタッフ", "採用", "ヘルプ",
           "催し", "ギャラリー", "ログイン", "講座", "診療時間", "会社概要", "研究", "患者の方へ",
           "地図", "資料", "報道", "予約", "切符", "料理"),
}  # fmt: skip
ITEMS = {
    "en": ("apples", "pears", "plums", "bread", "milk", "rice", "tea", "salt", "paper", "glue",
           "scissors", "towels", "soap", "lamps", "chairs", "cups", "eggs", "honey", "nuts", "wool",
           "candles", "batteries", "gloves", "boots"),
    "ja": ("りんご", "梨", "すもも", "パン", "牛乳", "米", "お茶", "塩", "紙", "のり", "はさみ",
           "タオル", "石けん", "電球", "椅子", "茶碗", "卵", "はちみつ", "くるみ", "毛糸",
           "ろうそく", "電池", "手袋"),
}  # fmt: skip
COLUMNS = {
    "en": ("Price", "Quantity", "Weight", "Year", "Country", "Score", "Dose", "Time", "Place",
           "Author", "Status", "Size", "Age", "Total", "Rank", "Ward", "Result", "Unit"),
    "ja": ("価格", "数量", "重さ", "年", "国", "得点", "用量", "時刻", "場所", "著者", "状態",
           "大きさ", "年齢", "合計", "順位", "病棟", "結果", "単位"),
}  # fmt: skip
FIELDS = {
    "en": ("name", "email", "phone", "password", "address", "date", "message", "comment", "street",
           "city", "birthday", "company", "user name", "postcode", "allergies", "shoe size",
           "nickname", "insurance"),
    "ja": ("名前", "メール", "電話番号", "パスワード", "住所", "日付", "メッセージ", "感想",
           "郵便番号", "生年月日", "会社名", "氏名", "アレルギー", "部署", "年代", "保険証番号"),
}  # fmt: skip
PRESSES = {
    "en": ("OK", "Go", "Start", "Buy now", "Save", "Cancel", "Join", "Order", "Sign in", "Next",
           "Reply", "Book a visit", "Try it", "Subscribe", "Donate", "Confirm"),
    "ja": ("開始", "購入", "保存", "中止", "参加", "注文", "次へ", "返信", "予約する", "登録",
           "確認", "申し込む", "試す", "進む", "寄付"),
}  # fmt: skip
SUBJECTS = {
    "en": ("a cat", "a dog", "a bridge", "the sea", "a mountain", "a train", "two birds", "a rose",
           "a hospital", "the moon", "a bicycle", "a forest", "an old house", "a heart", "a zebra",
           "a violin"),
    "ja": ("猫", "犬", "橋", "海", "山", "電車", "鳥", "ばら", "病院", "月", "自転車", "森",
           "古い家", "心臓", "しまうま", "バイオリン"),
}  # fmt: skip
SENTENCES = {
    "en": (("Every day", "Without water", "In the end", "After rain", "With patience", "At home",
            "Once a year", "Sometimes"),
           ("we learn.", "nothing grows.", "all is well.", "it is warm.", "people smile.",
            "time flies.", "the door opens.", "a bird sings.")),
    "ja": (("毎日", "水がなければ", "最後には", "雨のあとは", "根気よく", "家では", "年に一度",
            "時には"),
           ("学びます。", "何も育ちません。", "うまくいきます。", "暖かくなります。",
            "人は笑います。",
            "時が過ぎます。", "扉が開きます。", "鳥が鳴きます。")),
}  # fmt: skip
FOOTERS = {
    "en": (
        "All rights reserved",
        "Made with care",
        "Contact us any time",
        "Thank you for reading",
        "Printed in Kyoto",
        "Since 1984",
        "See you soon",
    ),
    "ja": (
        "無断転載を禁じます",
        "お問い合わせは電話で",
        "お読みいただき感謝します",
        "京都にて",
        "1984年創業",
        "またお会いしましょう",
    ),
}
