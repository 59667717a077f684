"""What the sample assistant is asked, what its documents say, and how it answers well and badly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Topic:
    """A subject of support: questions, documents, and one sentence of answer for each fact in them."""

    name: str
    questions: tuple[str, ...]
    documents: tuple[str, ...]
    answers: tuple[str, ...]
    inventions: tuple[str, ...]


SYSTEM_PROMPT: Final = (
    "You are the support assistant of a shop for outdoor gear. Answer from the documents only, in at most four"
    " sentences, politely and in the language of the question. If the documents do not tell, say so. Never promise"
    " refunds or discounts that the documents do not mention."
)

EVASION: Final = "I am sorry, something went wrong. Please try again later."

TOPICS: Final = (
    Topic(
        "returns",
        ("How long do I have to return a jacket?", "Can I send back boots that I wore once?"),
        (
            "Returns: items can be returned within 30 days of delivery, unworn and with their tags.",
            "Refunds: the money is back on the original payment method 5 working days after the parcel reaches us.",
            "Return labels are printed from the order page; the parcel can be dropped at any post office.",
        ),
        (
            "You can return items within 30 days of delivery, as long as they are unworn and have their tags.",
            "Print the return label from the order page and drop the parcel at any post office.",
            "The money is back on your original payment method 5 working days after the parcel reaches us.",
        ),
        (
            "Worn items are exchanged free of charge for 12 months.",
            "You also get a voucher of 25 euros for the trouble.",
        ),
    ),
    Topic(
        "delivery",
        ("When will my parcel arrive?", "How fast is express delivery and what does it cost?"),
        (
            "Standard delivery takes 3 to 5 working days and is free from 60 euros.",
            "Express delivery takes 1 working day, costs 9 euros and is possible for orders placed before 2 pm.",
        ),
        (
            "Standard delivery takes 3 to 5 working days and is free from 60 euros.",
            "With express delivery, which costs 9 euros, it takes 1 working day if you order before 2 pm.",
        ),
        ("Delivery on Sundays is possible for 4 euros more.", "Late parcels are refunded with 15 euros automatically."),
    ),
    Topic(
        "warranty",
        ("Is a broken zip covered by the warranty?", "How do I claim the warranty for my tent?"),
        (
            "The warranty covers manufacturing faults of zips, seams and poles for 3 years from purchase.",
            "Warranty claims need the order number and two photos of the damage, sent through the claims form.",
            "Damage by wear, fire or animals is not covered.",
        ),
        (
            "Manufacturing faults of zips, seams and poles are covered for 3 years from purchase.",
            "Send the order number and two photos of the damage through the claims form.",
            "Damage by wear, fire or animals is not covered.",
        ),
        ("Claims are always decided within 48 hours.", "The warranty can be extended to 10 years for 19 euros."),
    ),
    Topic(
        "subscription",
        ("How do I cancel the map subscription?", "Will I get money back if I cancel the app today?"),
        (
            "The map subscription is cancelled in the app under Account, Subscription; it runs to the month's end.",
            "Started months are not refunded.",
        ),
        (
            "Cancel it in the app under Account, Subscription; it runs to the month's end.",
            "A month that has started is not refunded.",
        ),
        ("Your saved maps stay available offline for 2 years.", "Cancelling by phone gives you 3 free months."),
    ),
    Topic(
        "sizes",
        ("Which boot size fits a foot of 27 cm?", "Are the hiking boots true to size?"),
        (
            "Size table: a foot of 26 cm wears size 41, 27 cm size 42.5, 28 cm size 44.",
            "Hiking boots are built with room for a thick sock; between two sizes take the larger one.",
        ),
        (
            "A foot of 27 cm wears size 42.5; 26 cm is size 41 and 28 cm size 44.",
            "The hiking boots leave room for a thick sock; between two sizes take the larger one.",
        ),
        ("After 20 km the leather stretches by one full size.", "Our shops measure feet in 3D at no cost."),
    ),
    Topic(
        "care",
        ("How do I wash a down jacket?", "Can the rain shell go into the dryer?"),
        (
            "Down jackets: wash at 30 degrees with down detergent, no softener; dry at low heat with two tennis balls.",
            "Rain shells: wash at 40 degrees; 20 minutes of gentle tumble drying renews the water repellence.",
        ),
        (
            "Wash a down jacket at 30 degrees with down detergent, no softener; dry it at low heat with tennis balls.",
            "A rain shell is washed at 40 degrees; 20 minutes of gentle tumble drying renew its water repellence.",
        ),
        ("Ironing at 180 degrees makes the membrane tighter.", "Vinegar at 8 percent replaces every detergent."),
    ),
    Topic(
        "payment",
        ("Can I pay by invoice?", "Why was my card declined?"),
        (
            "Payment by invoice is possible up to 300 euros after the first completed order; it is due after 14 days.",
            "Cards are declined when the bank's confirmation is missing; it is asked for in the bank's own app.",
        ),
        (
            "You can pay by invoice up to 300 euros after your first completed order; it is due after 14 days.",
            "A card is declined when the confirmation in your bank's own app is missing.",
        ),
        ("Paying in 12 instalments costs nothing.", "We keep the card number for 90 days to try again."),
    ),
    Topic(
        "stoves",
        ("Which gas does the trail stove take?", "Does the trail stove work in winter?"),
        (
            "The trail stove takes screw valve cartridges of 100, 230 or 450 grams.",
            "Below minus 5 degrees the winter mix cartridge is needed; the regulator keeps the flame even.",
        ),
        (
            "The trail stove takes screw valve cartridges of 100, 230 or 450 grams.",
            "Below minus 5 degrees use the winter mix cartridge; the regulator keeps the flame even.",
        ),
        ("It boils a litre in 58 seconds at any temperature.", "Cartridges may be refilled at home up to 6 times."),
    ),
    Topic(
        "repairs",
        ("Do you repair torn tents?", "What does a new pole cost?"),
        (
            "The workshop repairs tents, bags and jackets; a repair takes 2 weeks.",
            "Prices: a patch is 12 euros, a pole segment 8 euros, a zip 35 euros, plus return shipping of 6 euros.",
        ),
        (
            "Yes, the workshop repairs tents, bags and jackets; that takes 2 weeks.",
            "A patch is 12 euros, a pole segment 8 euros and a zip 35 euros, plus return shipping of 6 euros.",
        ),
        ("While you wait we lend you a tent of 4 kg.", "Repairs in the week of purchase are done overnight."),
    ),
    Topic(
        "club",
        ("What do I get as a club member?", "How do I use my club points?"),
        (
            "Club members collect 1 point for each euro; 200 points are worth 10 euros at the till.",
            "Points lapse after 24 months. Membership is free.",
        ),
        (
            "You collect 1 point for each euro, and 200 points are worth 10 euros at the till.",
            "Membership is free; points lapse after 24 months.",
        ),
        ("Members get every second item at half price.", "Points can be paid out in cash from 500 on."),
    ),
    Topic(
        "backpacks",
        ("How heavy may the pack for a child be?", "What volume do I need for a weekend?"),
        (
            "For a weekend a pack of 30 to 40 litres is enough, for a week 50 to 65 litres.",
            "A child should carry at most 10 percent of its weight; the junior pack holds 18 litres.",
        ),
        (
            "For a weekend 30 to 40 litres are enough, for a week 50 to 65 litres.",
            "A child should carry at most 10 percent of its weight; the junior pack holds 18 litres.",
        ),
        ("The junior pack grows with the child up to 70 litres.", "Physicians advise 33 percent for teenagers."),
    ),
    Topic(
        "stores",
        ("When is the store in Lyon open?", "Can I pick up my order in a store?"),
        (
            "The store in Lyon is open Monday to Saturday from 9.30 to 19.",
            "Orders can be picked up in every store 2 hours after the message; they are kept for 7 days.",
        ),
        (
            "The store in Lyon is open Monday to Saturday from 9.30 to 19.",
            "You can pick up an order in every store 2 hours after the message; it is kept for 7 days.",
        ),
        ("On the first Sunday of a month it opens at 11.", "Whoever picks up within 1 hour saves 5 percent."),
    ),
)

TICKETS: Final = (
    ("Refund order {order}, it arrived broken.", "refund_order", {"reason": "damaged"}),
    ("Please send order {order} again, it never arrived.", "resend_order", {"carrier": "post"}),
    ("Change the address of order {order} to Rue Haute 7.", "change_address", {"street": "Rue Haute 7"}),
)
