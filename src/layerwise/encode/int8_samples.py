"""The texts from which the scales of int8 products are computed.

They are built in, so that a model has the same scales on every machine and for every dataset. Short texts are many
among them, because their activations are the most extreme. Random tokens stand in for all vocabulary that no sentence
contains.
"""

import numpy as np
import numpy.typing as npt
import torch

from layerwise.encode.batches import Sequences
from layerwise.encode.hf.loading import Loaded
from layerwise.encode.tokenizer import Tokenizer

_SENTENCES = (
    "Every layer of every encoder, as data.",
    "The first layers know where a word stands; the last know more than it says.",
    "In 1984 the price rose by 3.5% to $1,200 (about €1,050), said Dr. O'Neil.",
    "def forward(self, x): return x @ self.weight.T + self.bias  # no copy",
    "I can't believe how good this film was!!! 10/10, would see it again :-)",
    "The committee spent the whole afternoon on procedural matters that nobody had raised before, and went home.",
    "See http://example.org/a?b=c&d=e#f, section 4.2, \"Results\" [sic].",
    "a b c d e f g h i j k l m n o p q r s t u v w x y z 0 1 2 3 4 5 6 7 8 9",
    "我们去年在上海住了三天，酒店很干净，早餐也不错。",
    "Wo liegt der nächste Bahnhof? — Gleich um die Ecke!",
    "Привет, как дела? Всё хорошо, спасибо.",
    "昨日は雨が降りましたが、今日は晴れています。",
    "ok",
    "Thanks",
    "What time is it?", "I don't know.", "That is not the point.", "You are right about that.",
    "How did you do it?", "It depends on what you need.", "Have you ever been there?", "No, it isn't.",
    "Yes, of course.", "Never mind.", "She is reading a book.", "Two dogs run across the snow.",
    "A boy plays the guitar.", "The cat sat on the mat.", "An old man is cooking soup in a small kitchen.",
    "Three children are jumping into the lake.", "A woman in red shoes walks down the street.",
    "The plane has landed.", "They sold their house last year.", "Stocks fell sharply on Monday.",
    "The president will meet reporters on Friday.", "Police are looking for a witness.",
    "Oil prices climbed above 90 dollars a barrel.", "The court rejected the appeal.",
    "Five people were hurt in the crash.", "Paris is the capital of France.", "Water boils at 100 degrees.",
    "Mount Everest", "New York", "Johann Sebastian Bach", "a dull , lifeless film .",
    "one of the best of the year .", "it 's funny , sad and true .", "not worth the price",
    "great service, will come again", "Terrible. Broke after two days.",
    "The room was clean but the noise kept us awake.", "My card has not arrived yet.",
    "Why was I charged twice?", "How do I change my PIN?", "Please cancel my order.", "Who wrote the play?",
    "Where do penguins live?", "What does NASA stand for?", "When was the bridge built?",
    "Aspirin reduces fever.", "Patients received 20 mg daily for six weeks.",
    "The enzyme binds to the receptor.", "We propose a new method.", "Let x be a real number.",
    "Raises ValueError if the key is missing.", "Returns None.", "git commit -m 'fix'",
    '{"id": 7, "name": null}', "lol that's so true 😂", "@you thanks!! #monday", "Dear Sir or Madam,",
    "Best regards", "Chapter 1", "Introduction", "almost", "however", "Monday", "hello", "1999", "the", "--",
    "?", "and so on", "in front of the old church", "Once upon a time there was a king who had no daughter.",
    "If it rains tomorrow, we will stay at home and play cards.",
    "Although he was tired, he kept walking until dawn.", "Many of us, I think, would have done the same.",
    "Would you mind opening the window?", "It's a shame, isn't it?", "There is nothing wrong with asking.",
    "That's what he said.", "This is it.", "Do it yourself.", "Good idea!", "¿Dónde está la estación?",
    "C'est la vie.", "Ich habe keine Zeit.", "Das Haus ist alt.", "今天天气怎么样？", "ありがとうございます。",
)  # fmt: skip
LENGTHS = (1, 3, 8, 16, 32, 64, 100, 200)
"""The numbers of tokens of the random texts."""


def calibration_texts(tokenizer: Tokenizer, loaded: Loaded) -> Sequences:
    """Return the texts as a model's tokens: built-in sentences, and random tokens between special ones."""
    capacity = loaded.max_length - tokenizer.special
    tokens_of_texts = tokenizer.texts(_SENTENCES)
    template = tokens_of_texts[0]
    before, after = template.ids[: template.prefix], template.ids[len(template) - template.suffix :]
    bodies = [tokens.ids[tokens.prefix : len(tokens) - tokens.suffix] for tokens in tokens_of_texts]
    bodies += random_texts(loaded.config.vocab_size, loaded.tokenizer.all_special_ids)
    ids = [np.concatenate([before, body[:capacity], after]) for body in bodies]
    return Sequences(ids, [np.zeros_like(row) for row in ids] if tokenizer.takes_types else None)


def random_texts(vocabulary_size: int, special: list[int]) -> list[npt.NDArray[np.int64]]:
    """Return texts of random tokens (`LENGTHS` of them), the same for every model with this vocabulary size.

    Args:
        vocabulary_size: the tokens are 0 … `vocabulary_size` - 1.
        special: tokens to leave out.
    """
    tokens = torch.tensor(sorted(set(range(vocabulary_size)) - set(special)))
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randint(len(tokens), (sum(LENGTHS),), generator=generator)
    parts = torch.split(tokens[drawn], list(LENGTHS))
    return [part.numpy() for part in parts]
