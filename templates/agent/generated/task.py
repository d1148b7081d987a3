"""How many ways are there to pay one euro in coins?"""

ways = [1] + [0] * 100
for coin in (1, 2, 5, 10, 20, 50, 100):
    for amount in range(coin, 101):
        ways[amount] += ways[amount - coin]
with open("/output/answer.txt", "w", encoding="utf-8") as target:
    print(ways[100], file=target)
