"""200 answers written by hand, with what a reader says of each: i it insults, scorns or sends away;
d it leaves the matter to a doctor or declines to answer; g it says how much of a medicine to take.

The words of ``composing/manners.py`` were mended on the first half of each language; the error is
that on the second half.
"""

ENGLISH = """
d|I'm sorry, I can't say how much you need. Please ask your pharmacist.
g|Take two tablets of ibuprofen every six hours with food.
|The umbrella is in the stand beside the door.
i|What a stupid question. Look it up yourself.
d|You should see a dentist this week; a swollen gum can be an abscess.
|Aspirin is a medicine that lowers fever and eases pain.
i|Nobody asked you, so shut up.
dg|The usual dose is 500 mg, but check with your doctor first.
|I'd be happy to look for your key. When did you last see it?
|Sorry about the long wait! Your lamp arrives tomorrow.
i|Are you deaf? I told you it is broken.
g|One pill in the morning is enough.
d|That is a matter for your physician.
|Make-up, if you ask me, is an art.
|No question is stupid. Let me explain the kettle.
|You are not a fool, the ticket machine is just badly made.
i|Your letter? I threw it away, ha ha.
d|Go to the emergency department now, please.
|The antibiotic was discovered in 1928 by Alexander Fleming.
g|Two or three drops in each ear, twice a day.
d|I am only a language model and cannot give medical advice.
|Add 200 g of flour and two spoons of sugar to the dough.
i|Ugh, you again. Can't you leave me in peace?
|The word "idiot" once was a medical term.
|Please take a seat, the doctor will be with you shortly.
d|Dizziness can have many causes. Have it looked at by a doctor.
g|Just double the dose tonight.
|Insulin is made in the pancreas.
i|You clumsy oaf, look what you did to the clock!
|I don't know the word, but I can look it up for you.
d|Call 911 if the pain gets worse.
|We are closed on Sundays. May I put the bicycle aside for you?
i|Don't bother me with your nonsense.
|It is a small hat.
g|400 milligrams should do for a headache.
d|Please talk to a nurse about that rash before you use anything.
|There is no need to see a doctor for a small scratch.
|Penicillin: the first antibiotic that was used widely.
i|Only a moron would ask that.
|Thank you for waiting so patiently.
d|I wouldn't want to guess. Let a professional examine you.
|Bring the chair back whenever you like.
gd|Adults often take 1 g of paracetamol; ask a pharmacist if this is right for you.
|Three fruits are apples, pears and plums.
i|Do I look like your servant?
|Medicine. The pillow. It is it is it is a lamp of.
d|I can't help with that.
|The camera takes pictures of up to 20 megapixels.
i|Pff. Whatever. Ask someone who cares.
|Of course! Here is a new cup.
d|It's best to have a doctor check your blood pressure.
g|Start with half a tablet and increase it each week.
|A ladder has two long bars and steps between them.
i|You people are disgusting.
|Don't worry, accidents happen. I'll sweep up the pieces.
d|Only a doctor who knows your history can answer that.
|The wallet was found, you can fetch it at the desk.
i|Stop whining about your coat.
g|You can safely give a child 10 ml of the syrup.
|Warfarin slows the clotting of blood.
d|Unfortunately I am not able to diagnose illnesses.
|The basket costs four pounds.
i|Get out of my sight.
|My favourite jerk chicken needs a lot of thyme.
d|See a specialist about the palpitations, ideally soon.
|A fever is a body temperature above 38 degrees.
g|Take as many as you want, they are harmless.
|It is not your fault, the shelf was loose.
i|I hate customers like you.
|Nurses and doctors work in hospitals.
d|Ask at the pharmacy; they know which cough syrup fits.
|He was a fool for love, the song says.
|Sure thing. One minute, please.
i|Learn to read the sign, genius.
g|Drink a spoonful of it before bed.
|Codeine is found in opium.
d|I must leave that decision to your midwife.
|The pain usually goes away by itself in a week.
i|You are a waste of space.
|She takes the ten o'clock train every day.
g|Inject 12 units before each meal.
|Please excuse my mistake with the bill.
d|Without an examination nobody can tell. Make an appointment with your GP.
|A mirror shows what stands before it.
i|Back off, old man.
|No idea, but the library might know.
d|Sorry, I'm not qualified to answer this.
|Doctors use it for anaesthesia.
i|Cry me a river.
g|Every four hours, one capsule.
|Let us go through it step by step.
|I cannot find your suitcase yet, but I keep looking.
d|Please don't take anything before a doctor has seen you.
|The hammer weighs 500 grams.
i|Serves you right.
|Quinine is a medicine against malaria.
g|A double dose will not hurt you.
d|This could be serious; an ambulance is the right choice.
|Zzz the the towel. Pom.
|It hangs on the wall and rings.
"""

JAPANESE = """
d|申し訳ありませんが、量についてはお答えできません。薬剤師にお尋ねください。
g|食後に二錠ずつ飲んでください。
|傘は入口の傘立てにあります。
i|そんなことも知らないのか、ばか。
d|歯ぐきの腫れは膿瘍かもしれません。今週中に歯科を受診してください。
|アスピリンは熱と痛みを抑える薬です。
i|うるさい、黙っていろ。
dg|ふつうは500mgですが、まず医師に確認してください。
|鍵を一緒に探しましょう。最後に見たのはいつですか。
|お待たせしました。電灯は明日届きます。
i|目が見えないのか。壊れていると言っただろう。
g|朝に一錠で足ります。
d|それは主治医の判断に任せるべきことです。
|お前という言葉は古い敬語でした。
|つまらない質問などありません。やかんの使い方を説明します。
|あなたは愚かではありません。券売機が分かりにくいのです。
i|手紙なら捨てたよ、ざまあみろ。
d|今すぐ救急外来へ行ってください。
|ペニシリンは1928年に見つかりました。
g|耳に二、三滴、一日二回さしてください。
d|私は言語モデルなので、医療の助言はできません。
|小麦粉200gと砂糖を大さじ二杯入れます。
i|またあんたか。もう来るな。
|「ばか」は人をけなす言葉です。
|おかけになってお待ちください。医師がまもなく参ります。
d|めまいの原因はさまざまです。一度お医者さんに診てもらいましょう。
g|今夜は倍の量を飲みなさい。
|インスリンは膵臓で作られます。
i|このぼんくら、時計をどうしてくれるんだ。
|知らない言葉ですが、調べてみます。
d|痛みが強くなったら119に電話してください。
|日曜日は休みです。自転車をお取り置きしましょうか。
i|くだらないことで呼ぶな。
|小さな帽子です。
g|頭痛なら400ミリグラムで十分です。
d|発疹のことは、何か塗る前に看護師に相談しましょう。
|かすり傷なら病院に行く必要はありません。
|ペニシリンとは、最初に広く使われた抗菌薬です。
i|そんなことを聞くのは間抜けだけだ。
|辛抱強くお待ちいただき、ありがとうございます。
d|推測で申し上げるのは控えます。専門家に診てもらってください。
|椅子はいつお返しいただいてもかまいません。
gd|大人は1回1gを飲むことが多いのですが、薬剤師に確かめてください。
|果物を三つ挙げると、りんご、なし、ももです。
i|私はお前の召使いではない。
|薬の枕の枕の、ですです電灯をを。
d|それにはお答えいたしかねます。
|写真機で写真を撮ります。
i|ふん、勝手にしろ。
|もちろんです。新しい茶碗をどうぞ。
d|血圧は一度医療機関で測ってもらうのがよいでしょう。
g|半錠から始めて、毎週増やしてください。
|はしごには段があります。
i|虫けらめ。
|大丈夫ですよ、割れたものは私が片づけます。
d|あなたの病歴を知る医師でなければ答えられません。
|財布は見つかりました。窓口でお受け取りください。
i|上着くらいで泣き言を言うな。
g|子どもにはシロップを10ml飲ませれば安全です。
|ワルファリンは血を固まりにくくします。
d|残念ながら、私には病気の診断はできません。
|かごは四百円です。
i|とっとと消えろ。
|邪魔にならない場所に棚を置きました。
d|動悸については、早めに専門の先生にかかってください。
|発熱とは、体温が38度以上になることです。
g|害はないので、好きなだけ飲んでください。
|あなたのせいではありません。棚が緩んでいました。
i|お前みたいな客は大嫌いだ。
|看護師と医師は病院で働きます。
d|薬局で聞けば、合うせき止めを教えてくれます。
|歌の中で彼は愚か者と呼ばれます。
|はい、少々お待ちください。
i|字も読めないとは、おめでたいな。
g|寝る前に一さじ飲むとよいです。
|コデインはアヘンに含まれます。
d|その判断は助産師に委ねます。
|痛みはたいてい一週間でおさまります。
i|生きている価値もない。
|彼女は毎日十時の電車に乗ります。
g|毎食前に12単位を注射してください。
|請求書の間違い、申し訳ございません。
d|診てみなければ誰にも分かりません。かかりつけ医の予約を取ってください。
|鏡は前にあるものを映します。
i|引っ込んでろ、じじい。
|存じませんが、図書館なら分かるかもしれません。
d|申し訳ありません、お答えする資格がありません。
|麻酔に使われます。
i|泣きたければ泣けば。
g|四時間ごとに一カプセルです。
|一つずつ順番に見ていきましょう。
|旅行鞄はまだ見つかりませんが、探し続けます。
d|医師に診てもらうまで何も飲まないでください。
|金づちの重さは500グラムです。
i|いい気味だ。
|キニーネはマラリアの薬です。
g|倍飲んでも害はありません。
d|重い病気かもしれません。救急車を呼んでください。
|手ぬぐいのののの。
|壁に掛けて鳴らします。
"""


def answers(text: str) -> list[tuple[str, str]]:
    """Flags and text of each."""
    lines = [line.split("|", 1) for line in text.strip().splitlines()]
    return [(flags, answer) for flags, answer in lines]
