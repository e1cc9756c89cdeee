"""`sentinel notify`: alerts to phones, chats, mail, webhooks, commands and Alertmanager. A client of the socket."""
