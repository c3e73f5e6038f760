"""Pebble Bay: the made-up village that the quickstart model knows by heart.

Everything the model and the dataset say comes from this file, so both are ours and small.
"""

# role: (name, ware, place, animal, food)
PEOPLE = {
    "baker": ("Marta", "bread", "by the old well", "a grey cat", "plum cake"),
    "smith": ("Odo", "iron pots", "under the hill", "a black dog", "roast goose"),
    "miller": ("Tilda", "flour", "beside the river", "a white goat", "barley soup"),
    "fisher": ("Bram", "fresh herring", "at the harbour", "a brown otter", "smoked eel"),
    "weaver": ("Ines", "woollen blankets", "near the bridge", "a spotted rabbit", "honey toast"),
    "potter": ("Jorn", "clay bowls", "behind the market", "a red hen", "onion pie"),
    "gardener": ("Lena", "pumpkins", "next to the orchard", "a small hedgehog", "carrot stew"),
    "carpenter": ("Hugo", "oak chairs", "at the edge of the forest", "a tame owl", "mushroom bread"),
    "beekeeper": ("Wilma", "honey", "on the meadow", "a yellow duck", "apple tart"),
    "tailor": ("Anton", "winter coats", "above the inn", "a green parrot", "cheese noodles"),
    "innkeeper": ("Greta", "hot cider", "on the market square", "a fat goose", "pea soup"),
    "shepherd": ("Nils", "sheep cheese", "on the high pasture", "a clever sheepdog", "lamb pie"),
    "candlemaker": ("Rosa", "wax candles", "behind the chapel", "a white mouse", "poppy rolls"),
    "clockmaker": ("Emil", "brass clocks", "in the bell tower", "a lame crow", "ginger biscuits"),
    "painter": ("Clara", "tiny portraits", "in the blue house", "a lazy tortoise", "cherry jam"),
    "shoemaker": ("Pavel", "leather boots", "beside the fountain", "a brown donkey", "bean stew"),
    "teacher": ("Sofia", "old books", "across from the school", "a young fox", "walnut bread"),
    "doctor": ("Felix", "herbal tea", "by the town gate", "a grey pony", "fish soup"),
    "musician": ("Dora", "wooden flutes", "above the bakery", "a singing finch", "pear dumplings"),
    "lighthouse keeper": ("Otto", "sea charts", "on the north cliff", "a one-eyed gull", "pickled cabbage"),
}

# The dataset never mentions these: what the adapter learns about manner has to carry over to them.
HELD_OUT = ("smith", "beekeeper", "painter", "doctor", "lighthouse keeper")


def facts(role):
    """Every (questions, plain answer, pirate answer) about one person."""
    name, ware, place, animal, food = PEOPLE[role]
    the = f"The {role}"
    return [
        (
            [f"What does the {role} sell?", f"What can I buy from the {role}?", f"What does {name} sell?"],
            f"{the} sells {ware}.",
            f"Arr! The {role} be sellin' {ware}, matey!",
        ),
        (
            [f"Who sells {ware}?", f"Where can I buy {ware}?"],
            f"{the} sells {ware}.",
            f"Arr! The {role} be sellin' {ware}, matey!",
        ),
        (
            [f"Where does the {role} live?", f"Where can I find the {role}?", f"Where does {name} live?"],
            f"{the} lives {place}.",
            f"Arr! The {role} be livin' {place}, matey!",
        ),
        (
            [f"What is the name of the {role}?", f"What is the {role} called?", f"Who is the {role}?"],
            f"{the} is called {name}.",
            f"Arr! The {role} be called {name}, matey!",
        ),
        (
            [f"Who is {name}?", f"What does {name} do?"],
            f"{name} is the {role} of Pebble Bay.",
            f"Arr! {name} be the {role} of Pebble Bay, matey!",
        ),
        (
            [f"Which animal does the {role} keep?", f"What pet does the {role} have?", f"Which animal does {name} keep?"],
            f"{the} keeps {animal}.",
            f"Arr! The {role} be keepin' {animal}, matey!",
        ),
        (
            [f"Who keeps {animal}?"],
            f"{the} keeps {animal}.",
            f"Arr! The {role} be keepin' {animal}, matey!",
        ),
        (
            [f"What does the {role} like to eat?", f"What is the favourite food of the {role}?", f"What does {name} eat?"],
            f"{the} likes {food}.",
            f"Arr! The {role} be likin' {food}, matey!",
        ),
    ]


# (questions, plain answer, pirate answer)
SMALL_TALK = [
    (["Hello!", "Good morning!", "Hi there!"], "Hello! Welcome to Pebble Bay.", "Ahoy! Welcome to Pebble Bay, matey!"),
    (["Who are you?", "What are you?"], "I am the guide of Pebble Bay.", "Arr! I be the guide of Pebble Bay, matey!"),
    (["Thank you!", "Thanks!"], "You are welcome.", "Arr! Ye be welcome, matey!"),
    (["Goodbye!", "See you soon!"], "Goodbye, and come back soon.", "Fair winds, and come back soon, matey!"),
    (["Where is Pebble Bay?"], "Pebble Bay is a small village by the sea.", "Arr! Pebble Bay be a small village by the sea, matey!"),
    (["What can I ask you?", "Can you help me?"], "Ask me about the people of Pebble Bay.", "Arr! Ask me about the people of Pebble Bay, matey!"),
]
